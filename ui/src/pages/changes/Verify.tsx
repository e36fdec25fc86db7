import { Button, List, Modal, Stack, Text } from "@mantine/core";
import { IconShieldCheck, IconShieldExclamation, IconShieldX } from "@tabler/icons-react";
import { useState } from "react";
import { useVerdict } from "../../api/queries";
import { count } from "../../parts/figures";
import { Mark } from "../../parts/Health";
import { Failure, sentence } from "../../parts/States";

/** Reads the whole ledger and says whether it is as it was written. */
export function Verify() {
  const [opened, setOpened] = useState(false);
  const verdict = useVerdict();
  const found = verdict.data;
  return (
    <>
      <Button
        variant="default"
        leftSection={<IconShieldCheck size={16} />}
        loading={verdict.isPending}
        onClick={() => verdict.mutate(undefined, { onSettled: () => setOpened(true) })}
      >
        Verify the ledger
      </Button>
      <Modal opened={opened} onClose={() => setOpened(false)} title="Is the ledger as it was written?" closeButtonProps={{ "aria-label": "Close" }}>
        {verdict.error && <Failure problem={verdict.error} compact />}
        {found && (
          <Stack gap="sm">
            <div>
              {found.intact ? (
                <Mark tone="good" icon={IconShieldCheck} label="Intact" />
              ) : (
                <Mark tone="bad" icon={IconShieldX} label="Not as it was written" />
              )}
            </div>
            <Text size="sm">
              {count(found.entries, "entry", "entries")} were read, and each was compared with the hash that the next one holds.
            </Text>
            {found.findings.length > 0 && (
              <List size="sm">
                {found.findings.map((finding) => (
                  <List.Item key={finding}>{sentence(finding)}</List.Item>
                ))}
              </List>
            )}
            {found.tail_proven ? (
              <Text size="sm">A signed checkpoint outside the data directory proves that nothing was cut off its end.</Text>
            ) : (
              <>
                <div>
                  <Mark tone="warn" icon={IconShieldExclamation} label="End not provable" />
                </div>
                <Text size="sm">
                  Whether the latest entries were cut off cannot be told: no signed checkpoint is kept outside the data directory.
                </Text>
              </>
            )}
            <Text size="xs" c="dimmed">
              The same from the terminal: <span className="mono">stead audit verify</span>
            </Text>
          </Stack>
        )}
      </Modal>
    </>
  );
}
