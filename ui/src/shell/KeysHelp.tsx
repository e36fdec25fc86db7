import { Kbd, Modal, Table, Text } from "@mantine/core";
import { PAGES } from "./pages";

const KEYS: [string[], string][] = [
  [["Ctrl", "K"], "Find a page, a service or an action"],
  [["/"], "Search on this page"],
  ...PAGES.map((page): [string[], string] => [["g", page.key], `Go to ${page.title}`]),
  [["Space"], "Pause or follow the log, when it has the focus"],
  [["Esc"], "Close a panel or a dialog"],
  [["?"], "This list"],
];

export function KeysHelp({ opened, close }: { opened: boolean; close: () => void }) {
  return (
    <Modal opened={opened} onClose={close} title="Keys" closeButtonProps={{ "aria-label": "Close" }}>
      <Table withRowBorders={false}>
        <Table.Tbody>
          {KEYS.map(([keys, what]) => (
            <Table.Tr key={what}>
              <Table.Td w={110}>
                {keys.map((key, at) => (
                  <span key={key}>
                    {at > 0 && " "}
                    <Kbd>{key}</Kbd>
                  </span>
                ))}
              </Table.Td>
              <Table.Td>
                <Text size="sm">{what}</Text>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Modal>
  );
}
