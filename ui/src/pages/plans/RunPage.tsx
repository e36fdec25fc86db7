import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";
import * as q from "../../api/queries";
import { Page } from "../../parts/Page";
import { useEnvironment } from "../../shell/environment";
import { subjects } from "./PlansPage";
import { RunCard } from "./RunCard";

export function RunPage() {
  const environment = useEnvironment();
  const { id = "" } = useParams();
  const run = useQuery(q.run(environment, id)).data;
  const plan = useQuery({ ...q.plan(environment, run?.plan ?? ""), enabled: run !== undefined }).data;
  return (
    <Page title={plan ? `Run: ${subjects(plan)}` : "Run"} about="A plan being carried out, step by step">
      <RunCard id={id} alone />
    </Page>
  );
}
