import { Button } from "@mantine/core";
import { IconKey } from "@tabler/icons-react";
import { useNavigate } from "react-router";
import { change, useChange } from "../../api/queries";
import { tell } from "../../parts/tell";
import { useEnvironment } from "../../shell/environment";

/** Makes the plan of a new password and shows it: nothing happens before it is applied there. */
export function RotatePassword({ name, owner }: { name: string; owner: string }) {
  const environment = useEnvironment();
  const navigate = useNavigate();
  const need = name.slice(owner.length + 1);
  const rotate = useChange(
    () => change.planRotation(environment, owner, need),
    ["plans"],
    (plan) => void navigate(`/plans/${plan.id}`),
  );
  return (
    <Button
      variant="default"
      leftSection={<IconKey size={16} />}
      loading={rotate.isPending}
      onClick={() => rotate.mutate(undefined, { onError: tell.failed(`The password of ${name} cannot be rotated`) })}
    >
      New password
    </Button>
  );
}
