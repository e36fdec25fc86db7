import { Anchor, Button, CopyButton, Text, Title } from "@mantine/core";
import { IconCheck, IconCopy, IconExternalLink } from "@tabler/icons-react";
import { Link } from "react-router";
import type { ServiceDetail } from "../../api/client";
import { KIND } from "../../parts/kind";
import { yaml } from "../../parts/yaml";
import classes from "./Service.module.css";

/** The definition in force, what it was given for its needs, and where it is reached. */
export function Configuration({ service }: { service: ServiceDetail }) {
  const text = yaml(service.definition);
  return (
    <div className={classes.config}>
      <section aria-labelledby="definition">
        <div className={classes.bar}>
          <Title order={2} id="definition">
            Definition in force
          </Title>
          <CopyButton value={text}>
            {({ copied, copy }) => (
              <Button size="compact-sm" variant="subtle" onClick={copy} leftSection={copied ? <IconCheck size={14} /> : <IconCopy size={14} />}>
                {copied ? "Copied" : "Copy"}
              </Button>
            )}
          </CopyButton>
        </div>
        <pre className={`card ${classes.code}`} tabIndex={0} aria-label="Definition">
          {text.split("\n").map((line, at) => (
            <YamlLine key={at} line={line} />
          ))}
        </pre>
      </section>
      <div>
        <Section title="Bindings" empty={service.bindings.length === 0 ? "It needs nothing." : null}>
          <dl className={classes.pairs}>
            {service.bindings.map((binding) => (
              <Pair key={binding.need} name={binding.need}>
                <Anchor component={Link} to={`/services/${binding.target}`} inherit fw={560}>
                  {binding.target}
                </Anchor>{" "}
                <span className="dim">
                  {KIND[binding.kind].label}
                  {binding.password_version != null && `, password version ${binding.password_version}`}
                </span>
                <div className="mono dim">{binding.environment.join(", ")}</div>
              </Pair>
            ))}
          </dl>
        </Section>
        <Section title="Reached at" empty={service.endpoints.length === 0 ? "It is reached by nobody through the gateway." : null}>
          <dl className={classes.pairs}>
            {service.endpoints.map((endpoint) => (
              <Pair key={endpoint.audience + endpoint.url} name={endpoint.audience === "public" ? "from outside" : `by ${endpoint.audience}`}>
                {endpoint.audience === "public" ? (
                  <Anchor href={endpoint.url} target="_blank" rel="noreferrer" inherit>
                    {endpoint.url} <IconExternalLink size={13} aria-label="opens in a new window" />
                  </Anchor>
                ) : (
                  <span className="mono">{endpoint.url}</span>
                )}
              </Pair>
            ))}
          </dl>
        </Section>
        <Section title="Links" empty={(service.links ?? []).length === 0 ? "None stand in its stead.yaml." : null}>
          {service.links?.map((link) => (
            <div key={link.url}>
              <Anchor display="inline-block" py={3} href={link.url} target="_blank" rel="noreferrer" size="sm">
                {link.title} <IconExternalLink size={13} aria-label="opens in a new window" />
              </Anchor>
            </div>
          ))}
        </Section>
      </div>
    </div>
  );
}

function Section(props: { title: string; empty: string | null; children: React.ReactNode }) {
  return (
    <section className={`card ${classes.card}`} style={{ marginBottom: "0.9rem" }}>
      <Title order={3} mb={6}>
        {props.title}
      </Title>
      {props.empty ? (
        <Text size="sm" c="dimmed">
          {props.empty}
        </Text>
      ) : (
        props.children
      )}
    </section>
  );
}

function Pair({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

/** Keys, texts and bare values told apart; it is for the eye only. */
function YamlLine({ line }: { line: string }) {
  const match = /^(\s*(?:- )?)([^:"]+|"[^"]*")(:)(.*)$/.exec(line);
  if (!match) return <>{`${line}\n`}</>;
  const [, pad, key, colon, rest = ""] = match;
  const bare = /^ (?:-?\d[\d.]*|true|false|null)$/.test(rest);
  return (
    <>
      {pad}
      <span className={classes.yamlKey}>{key}</span>
      {colon}
      <span className={bare ? classes.yamlWord : rest ? classes.yamlText : undefined}>{rest}</span>
      {"\n"}
    </>
  );
}
