import { Group, Title } from "@mantine/core";
import { useEffect, type ReactNode } from "react";
import classes from "./Page.module.css";

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title === "Stead" ? title : `${title} · Stead`;
  }, [title]);
}

interface Props {
  title: string;
  /** In place of the plain title. */
  heading?: ReactNode;
  about?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  /** Takes the whole height and width, as the map does. */
  full?: boolean;
}

export function Page(props: Props) {
  useTitle(props.title);
  return (
    <div className={props.full ? classes.full : classes.page}>
      <header className={classes.head}>
        <div className={classes.words}>
          <Title order={1}>{props.heading ?? props.title}</Title>
          {props.about && <div className={classes.about}>{props.about}</div>}
        </div>
        {props.actions && <Group gap="xs">{props.actions}</Group>}
      </header>
      {props.children}
    </div>
  );
}
