import { Tabs } from "@mantine/core";
import { useNavigate, useParams } from "react-router";
import { Page } from "../../parts/Page";
import { People } from "./People";
import { Tokens } from "./Tokens";

/** Who may do what: people, and tokens for programs. */
export function AccessPage() {
  const navigate = useNavigate();
  const { tab } = useParams();
  const shown = tab === "tokens" ? "tokens" : "people";
  return (
    <Page title="Access" about="People come in by a one-time link; programs by a token that expires">
      <Tabs value={shown} onChange={(next) => void navigate(next === "tokens" ? "/access/tokens" : "/access")} activateTabWithKeyboard={false}>
        <Tabs.List mb="md">
          <Tabs.Tab value="people">People</Tabs.Tab>
          <Tabs.Tab value="tokens">Tokens</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="people">
          <People />
        </Tabs.Panel>
        <Tabs.Panel value="tokens">
          <Tokens />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
