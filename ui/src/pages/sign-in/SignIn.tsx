import { Alert, Button, Loader, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { IconAlertCircle } from "@tabler/icons-react";
import { useEffect, useRef, useState, type SyntheticEvent } from "react";
import { useLocation, useNavigate, useSearchParams } from "react-router";
import { ApiProblem, rememberCsrf, type Schemas } from "../../api/client";
import { change, session } from "../../api/queries";
import { Command, sentence } from "../../parts/States";
import { useTitle } from "../../parts/Page";
import { Glyph } from "../../shell/Logo";
import classes from "./SignIn.module.css";

/** Signs in with the one-time link in the address, or with name and password. */
export function SignIn() {
  useTitle("Sign in");
  const client = useQueryClient();
  const navigate = useNavigate();
  const { hash } = useLocation();
  const [params] = useSearchParams();
  const link = useRef(decodeURIComponent(hash.slice(1)));

  const enter = useMutation({
    mutationFn: (body: Schemas["SignIn"]) => change.signIn(body),
    onSuccess: (found) => {
      rememberCsrf(found.csrf);
      client.clear();
      client.setQueryData(session.queryKey, found);
      void navigate(safePath(params.get("to")), { replace: true });
    },
  });
  const { mutate } = enter;

  useEffect(() => {
    if (!link.current) return;
    const word = link.current;
    // Used up at once, and out of the address, so that it stays in no history.
    link.current = "";
    window.history.replaceState(window.history.state, "", window.location.pathname + window.location.search);
    mutate({ link: word });
  }, [mutate]);

  const byLink = enter.variables?.link !== undefined;
  return (
    <main className={classes.page}>
      <div className={classes.card}>
        <Glyph size={40} />
        <Title order={1} className={classes.title}>
          Sign in to Stead
        </Title>
        {byLink && enter.isPending ? (
          <Stack align="center" py="xl" role="status">
            <Loader size="sm" />
            <Text c="dimmed">Opening your sign-in link…</Text>
          </Stack>
        ) : (
          <Form problem={enter.error} byLink={byLink} pending={enter.isPending} submit={mutate} />
        )}
      </div>
      <div className={classes.help}>
        <Text size="sm" c="dimmed">
          No password yet? Ask an admin for a link, or on the machine itself:
        </Text>
        <Command text="stead open" />
      </div>
    </main>
  );
}

function Form(props: { problem: Error | null; byLink: boolean; pending: boolean; submit: (body: Schemas["SignIn"]) => void }) {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    props.submit({ name, password });
  };
  const hint = props.problem instanceof ApiProblem ? props.problem.hint : null;
  return (
    <form onSubmit={submit} className={classes.form}>
      {props.problem && (
        <Alert color="red" icon={<IconAlertCircle size={18} />} title={props.byLink ? "The link did not work" : "Not signed in"} role="alert">
          {sentence(props.problem.message)} {hint && sentence(hint)}
        </Alert>
      )}
      <TextInput label="Name" value={name} onChange={(event) => setName(event.currentTarget.value)} autoComplete="username" required withAsterisk={false} size="md" />
      <PasswordInput
        label="Password"
        value={password}
        onChange={(event) => setPassword(event.currentTarget.value)}
        autoComplete="current-password"
        required
        withAsterisk={false}
        size="md"
      />
      <Button type="submit" size="md" loading={props.pending} fullWidth>
        Sign in
      </Button>
    </form>
  );
}

/** Only ever leads back into this application. */
function safePath(path: string | null): string {
  return path?.startsWith("/") && !path.startsWith("//") && !path.startsWith("/\\") ? path : "/";
}
