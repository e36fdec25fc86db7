import { AppShell, Burger, Group, Skeleton, Stack } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { Navigate, Outlet, ScrollRestoration, useLocation } from "react-router";
import { ApiProblem } from "../api/client";
import { useInfo, useSession } from "../api/queries";
import { follow } from "../api/stream";
import { Failure } from "../parts/States";
import { EnvironmentContext, useChosenEnvironment } from "./environment";
import { KeysHelp } from "./KeysHelp";
import { useKeys } from "./keys";
import { Logo } from "./Logo";
import { Navigation } from "./Navigation";
import { openPalette, Palette } from "./Palette";
import classes from "./Shell.module.css";

const NAV_WIDTH_PX = 224;

/** The frame around every page: asks for the session first, then follows the stream of changes. */
export function Shell() {
  const session = useSession();
  const location = useLocation();

  if (session.isPending) return <Waiting />;
  if (session.error instanceof ApiProblem && (session.error.status === 401 || session.error.status === 403)) {
    return <Navigate to={`/sign-in?to=${encodeURIComponent(location.pathname + location.search)}`} replace />;
  }
  if (session.error) return <Failure problem={session.error} title="Stead does not answer" retry={() => void session.refetch()} />;
  return <Frame />;
}

function Frame() {
  const client = useQueryClient();
  const [open, nav] = useDisclosure(false);
  const [help, helpSwitch] = useDisclosure(false);
  const { environment, all, choose } = useChosenEnvironment();
  const { pathname } = useLocation();
  const main = useRef<HTMLElement>(null);
  const info = useInfo();

  useEffect(() => follow(client), [client]);
  useKeys(openPalette, helpSwitch.open);
  useEffect(() => nav.close(), [pathname]); // eslint-disable-line react-hooks/exhaustive-deps

  if (environment === null) return <Waiting />;
  return (
    <EnvironmentContext value={environment}>
      <a className="skip" href="#main" onClick={() => main.current?.focus()}>
        Skip to the content
      </a>
      <AppShell
        layout="alt"
        padding={0}
        navbar={{ width: NAV_WIDTH_PX, breakpoint: "sm", collapsed: { mobile: !open } }}
        header={{ height: { base: 52, sm: 0 } }}
      >
        <AppShell.Header hiddenFrom="sm" className={classes.top}>
          <Group h="100%" px="md" gap="sm">
            <Burger opened={open} onClick={nav.toggle} size="sm" aria-label={open ? "Close the menu" : "Open the menu"} />
            <Logo />
          </Group>
        </AppShell.Header>
        <AppShell.Navbar className={classes.nav}>
          <Navigation environment={environment} environments={all} choose={choose} close={nav.close} showKeys={helpSwitch.open} version={info.data?.version} />
        </AppShell.Navbar>
        <AppShell.Main id="main" ref={main} tabIndex={-1} className={classes.main}>
          <Outlet />
        </AppShell.Main>
      </AppShell>
      <Palette environment={environment} />
      <KeysHelp opened={help} close={helpSwitch.close} />
      <ScrollRestoration />
    </EnvironmentContext>
  );
}

function Waiting() {
  return (
    <Stack p="xl" gap="md" aria-busy="true" aria-label="Opening Stead" maw={900}>
      <Skeleton h={26} w={180} />
      <Skeleton h={14} w={320} maw="80%" />
      <Skeleton h={280} />
    </Stack>
  );
}
