import { Button, Group, Modal, Stack, Text, Textarea } from "@mantine/core";
import { IconArrowBackUp, IconInfoCircle } from "@tabler/icons-react";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import classes from "./Confirm.module.css";
import { Failure } from "./States";

interface Props {
  opened: boolean;
  close: () => void;
  title: string;
  /** Exactly what will happen, step by step. */
  effects: ReactNode[];
  /** How it is undone, or that it cannot be. */
  undo: ReactNode;
  final?: boolean;
  action: string;
  dangerous?: boolean;
  pending: boolean;
  problem: unknown;
  /** Asks for the reason, which goes on the ledger. */
  asksWhy?: boolean;
  disabled?: boolean;
  act: (why: string | undefined) => void;
  children?: ReactNode;
}

/** Before anything that changes the world: what will happen, how it is undone, and why it is asked. */
export function Confirm(props: Props) {
  return (
    <Modal opened={props.opened} onClose={props.close} title={props.title} size="md" closeButtonProps={{ "aria-label": "Close" }}>
      <Body {...props} />
    </Modal>
  );
}

function Body(props: Props) {
  const [why, setWhy] = useState("");
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    props.act(why.trim() || undefined);
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="md">
        {props.children}
        <div>
          <Text size="sm" fw={600} mb={4}>
            This will happen
          </Text>
          <ol className={classes.effects}>
            {props.effects.map((effect, at) => (
              <li key={at}>{effect}</li>
            ))}
          </ol>
        </div>
        <div className={classes.undo} data-final={props.final || undefined}>
          {props.final ? <IconInfoCircle size={16} aria-hidden /> : <IconArrowBackUp size={16} aria-hidden />}
          <span>{props.undo}</span>
        </div>
        {props.asksWhy && (
          <Textarea
            label="Why"
            description="Goes on the ledger, for whoever asks later."
            value={why}
            onChange={(event) => setWhy(event.currentTarget.value)}
            autosize
            minRows={2}
            maxLength={500}
            data-autofocus
          />
        )}
        {props.problem ? <Failure problem={props.problem} compact /> : null}
        <Group justify="end">
          <Button variant="default" onClick={props.close}>
            Cancel
          </Button>
          <Button type="submit" color={props.dangerous ? "red" : undefined} loading={props.pending} disabled={props.disabled}>
            {props.action}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
