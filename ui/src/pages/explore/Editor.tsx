import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, completionStatus } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, insertNewline } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { lintKeymap } from "@codemirror/lint";
import { EditorState, Prec } from "@codemirror/state";
import { EditorView, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { PromQLExtension } from "@prometheus-io/codemirror-promql";
import { getNonce } from "get-nonce";
import { useEffect, useRef } from "react";
import { PROMETHEUS } from "../../api/prometheus";
import classes from "./Explore.module.css";

interface Props {
  label: string;
  value: string;
  /** Called with what stands there when it is to be asked. */
  run: (expression: string) => void;
  changed: (expression: string) => void;
}

const language = new PromQLExtension().setComplete({ remote: { url: PROMETHEUS, httpMethod: "GET", cache: { maxAge: 60_000 } } });

const colors = HighlightStyle.define([
  { tag: [tags.number, tags.string], color: "var(--good)" },
  { tag: [tags.function(tags.variableName), tags.keyword, tags.modifier, tags.operatorKeyword], color: "var(--accent)" },
  { tag: tags.labelName, color: "var(--chart-4)" },
  { tag: tags.operator, color: "var(--mantine-color-dimmed)" },
  { tag: tags.comment, color: "var(--mantine-color-dimmed)", fontStyle: "italic" },
  { tag: tags.invalid, color: "var(--bad)" },
]);

/** PromQL with completion of metrics, labels and functions, and what is wrong with it under the words. */
export function Editor({ label, value, run, changed }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const calls = useRef({ run, changed });
  calls.current = { run, changed };
  const first = useRef(value);

  useEffect(() => {
    if (!box.current) return;
    const ask = (shown: EditorView): boolean => {
      calls.current.run(shown.state.doc.toString().trim());
      return true;
    };
    const made = new EditorView({
      parent: box.current,
      state: EditorState.create({
        doc: first.current,
        extensions: [
          EditorView.cspNonce.of(getNonce() ?? ""),
          Prec.highest(
            keymap.of([
              { key: "Enter", run: (shown) => (completionStatus(shown.state) === "active" ? acceptCompletion(shown) : ask(shown)) },
              { key: "Mod-Enter", run: ask },
              { key: "Shift-Enter", run: insertNewline },
            ]),
          ),
          keymap.of([...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...lintKeymap, ...defaultKeymap]),
          history(),
          bracketMatching(),
          closeBrackets(),
          // What is chosen with Enter is taken, however quickly it was pressed.
          autocompletion({ interactionDelay: 0 }),
          syntaxHighlighting(colors),
          language.asExtension(),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false" }),
          placeholder("An expression, such as rate(stead_gateway_requests_total[1m])"),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) calls.current.changed(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = made;
    return () => {
      made.destroy();
      view.current = null;
    };
  }, [label]);

  // An expression that came from elsewhere: a link, the way back, an example.
  useEffect(() => {
    const shown = view.current;
    if (shown && shown.state.doc.toString().trim() !== value.trim()) {
      shown.dispatch({ changes: { from: 0, to: shown.state.doc.length, insert: value } });
    }
  }, [value]);

  return <div ref={box} className={classes.editor} />;
}
