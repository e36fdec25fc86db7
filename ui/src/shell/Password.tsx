import { Button, Group, PasswordInput, Stack, Text } from "@mantine/core";
import { modals } from "@mantine/modals";
import { useState, type SyntheticEvent } from "react";
import { change, useChange } from "../api/queries" ;
import { tell } from "../parts/tell";

/** The server asks for at least this many characters as well. */
const CHARACTERS_MIN = 12;

export function openPassword(known: boolean): void {
  modals.open({ modalId: "password", title: known ? "Change the password" : "Set a password", children: <PasswordForm known={known} /> });
}

function PasswordForm({ known }: { known: boolean }) {
  const [current, setCurrent] = useState("");
  const [password, setPassword] = useState("");
  const set = useChange(change.setPassword, ["session", "people"], () => {
    modals.close("password");
    tell.done("Password set", "You can now sign in with your name and this password.");
  });
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    set.mutate(current ? { password, current } : { password });
  };
  return (
    <form onSubmit={submit}>
      <Stack>
        <Text size="sm" c="dimmed">
          With a password you can come back without a sign-in link.
        </Text>
        {known && (
          <PasswordInput
            label="Current password"
            value={current}
            onChange={(event) => setCurrent(event.currentTarget.value)}
            autoComplete="current-password"
            data-autofocus
          />
        )}
        <PasswordInput
          label="New password"
          description={`At least ${CHARACTERS_MIN} characters; a few plain words are good.`}
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
          error={set.error?.message}
          autoComplete="new-password"
          data-autofocus={!known || undefined}
        />
        <Group justify="end">
          <Button variant="default" onClick={() => modals.close("password")}>
            Cancel
          </Button>
          <Button type="submit" loading={set.isPending} disabled={password.length < CHARACTERS_MIN}>
            Set password
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
