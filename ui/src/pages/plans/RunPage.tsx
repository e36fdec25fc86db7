import { useParams } from "react-router";
import { Page } from "../../parts/Page";
import { RunCard } from "./RunCard";

export function RunPage() {
  const { id = "" } = useParams();
  return (
    <Page title="Run" about="A plan being carried out, step by step">
      <RunCard id={id} alone />
    </Page>
  );
}
