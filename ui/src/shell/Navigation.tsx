import { ActionIcon, Kbd, Menu, Select, UnstyledButton } from "@mantine/core";
import { IconChevronUp, IconKeyboard, IconLogout, IconPassword, IconSearch, IconX } from "@tabler/icons-react";
import { NavLink } from "react-router";
import { useSession } from "../api/queries";
import { useLiveness } from "../api/stream";
import { useSignOut } from "./account";
import { Logo } from "./Logo";
import { PAGES } from "./pages";
import { openPalette } from "./Palette";
import { openPassword } from "./Password";
import { SchemeItems } from "./Scheme";
import classes from "./Shell.module.css";

interface Props {
  environment: string;
  environments: string[];
  choose: (name: string) => void;
  close: () => void;
  showKeys: () => void;
  version: string | undefined;
}

export function Navigation(props: Props) {
  return (
    <div className={classes.navBody}>
      <div className={classes.brand}>
        <Logo />
        <ActionIcon hiddenFrom="sm" onClick={props.close} aria-label="Close the menu">
          <IconX size={18} />
        </ActionIcon>
      </div>
      <UnstyledButton className={classes.search} onClick={openPalette} aria-keyshortcuts="Control+K">
        <IconSearch size={15} aria-hidden />
        Find or do
        <Kbd size="xs">Ctrl K</Kbd>
      </UnstyledButton>
      {props.environments.length > 1 && (
        <Select
          aria-label="Environment"
          data={props.environments}
          value={props.environment}
          onChange={(name) => name && props.choose(name)}
          allowDeselect={false}
        />
      )}
      <nav aria-label="Pages">
        <ul className={classes.links}>
          {PAGES.map((page) => (
            <li key={page.path}>
              <NavLink to={page.path} end={page.path === "/"} className={classes.link ?? ""} onClick={props.close} aria-keyshortcuts={`g ${page.key}`}>
                <page.icon size={18} stroke={1.7} aria-hidden />
                {page.title}
                <span className={classes.key} aria-hidden>
                  g {page.key}
                </span>
              </NavLink>
            </li>
          ))}
        </ul>
      </nav>
      <div className={classes.foot}>
        <Live version={props.version} />
        <Account showKeys={props.showKeys} />
      </div>
    </div>
  );
}

const WORDS = { live: "Live", connecting: "Connecting…", reconnecting: "Reconnecting…" } as const;

function Live({ version }: { version: string | undefined }) {
  const state = useLiveness();
  return (
    <div className={classes.live} data-state={state} role="status" title={state === "reconnecting" ? "What is shown may be old; it is read again by itself" : undefined}>
      <span className={classes.dot} aria-hidden />
      {WORDS[state]}
      {version && state === "live" && <span className="num">· Stead {version}</span>}
    </div>
  );
}

function Account({ showKeys }: { showKeys: () => void }) {
  const session = useSession().data;
  const signOut = useSignOut();
  const name = session?.person?.name ?? session?.actor ?? "";
  const initials = name
    .split(/[\s._@-]+/)
    .slice(0, 2)
    .map((word) => word.charAt(0).toUpperCase())
    .join("");
  return (
    <Menu width={245} position="top-start">
      <Menu.Target>
        <UnstyledButton className={classes.who} aria-label={`Account of ${name}`}>
          <span className={classes.face} aria-hidden>
            {initials}
          </span>
          <span className={classes.whoText}>
            <span>{name}</span>
            <span>{session?.role}</span>
          </span>
          <IconChevronUp size={15} aria-hidden style={{ marginLeft: "auto" }} />
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <SchemeItems />
        <Menu.Divider />
        <Menu.Item leftSection={<IconKeyboard size={16} />} onClick={showKeys} rightSection={<Kbd size="xs">?</Kbd>}>
          Keys
        </Menu.Item>
        {session?.person && (
          <Menu.Item leftSection={<IconPassword size={16} />} onClick={() => openPassword(session.person?.password ?? false)}>
            {session.person.password ? "Change password" : "Set a password"}
          </Menu.Item>
        )}
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => signOut.mutate()}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
