import { Button, CopyButton, Modal, Stack, Text } from "@mantine/core";
import { IconAlertTriangle, IconCheck, IconCopy } from "@tabler/icons-react";
import type { ReactNode } from "react";
import classes from "./Access.module.css";

interface Props {
  title: string;
  value: string | null;
  label: string;
  children: ReactNode;
  close: () => void;
}

/** Something that is shown this one time: it stays until it is put away by hand. */
export function Once({ title, value, label, children, close }: Props) {
  return (
    <Modal opened={value !== null} onClose={close} title={title} size="lg" closeOnClickOutside={false} closeOnEscape={false} withCloseButton={false}>
      {value !== null && (
        <Stack>
          <Text size="sm">{children}</Text>
          <div className={classes.once}>
            <code aria-label={label} className="mono break">
              {value}
            </code>
            <CopyButton value={value}>
              {({ copied, copy }) => (
                <Button size="xs" onClick={copy} leftSection={copied ? <IconCheck size={15} /> : <IconCopy size={15} />} data-autofocus>
                  {copied ? "Copied" : "Copy"}
                </Button>
              )}
            </CopyButton>
          </div>
          <div className={classes.warning}>
            <IconAlertTriangle size={16} aria-hidden />
            It is shown this once. When it is lost, make a new one.
          </div>
          <Button variant="default" onClick={close} style={{ alignSelf: "end" }}>
            I have it
          </Button>
        </Stack>
      )}
    </Modal>
  );
}
