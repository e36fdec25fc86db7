import { Button } from "@mantine/core";
import { IconMapOff } from "@tabler/icons-react";
import { Link, useLocation, useRouteError } from "react-router";
import { Empty, Failure } from "../parts/States";

/** A page that failed while it was drawn or loaded. */
export function Stumble() {
  const problem = useRouteError();
  return <Failure problem={problem} title="This page could not be shown" retry={() => window.location.reload()} />;
}

export function NoSuchPage() {
  const { pathname } = useLocation();
  return (
    <Empty
      icon={IconMapOff}
      title="There is no page here"
      action={
        <Button component={Link} to="/" variant="default">
          Go to the map
        </Button>
      }
    >
      Nothing is at <span className="mono">{pathname}</span>. The address may be mistyped, or the thing was renamed.
    </Empty>
  );
}
