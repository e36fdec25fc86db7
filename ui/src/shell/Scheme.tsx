import { Menu, useMantineColorScheme, type MantineColorScheme } from "@mantine/core";
import { IconCheck, IconDeviceDesktop, IconMoon, IconSun, type Icon } from "@tabler/icons-react";

const CHOICES: { value: MantineColorScheme; label: string; icon: Icon }[] = [
  { value: "auto", label: "Light or dark as the system", icon: IconDeviceDesktop },
  { value: "light", label: "Light", icon: IconSun },
  { value: "dark", label: "Dark", icon: IconMoon },
];

export function SchemeItems() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <>
      {CHOICES.map((choice) => (
        <Menu.Item
          key={choice.value}
          closeMenuOnClick={false}
          leftSection={<choice.icon size={16} />}
          rightSection={
            colorScheme === choice.value ? (
              <>
                <IconCheck size={15} aria-hidden />
                <span className="sr">, chosen</span>
              </>
            ) : null
          }
          onClick={() => setColorScheme(choice.value)}
        >
          {choice.label}
        </Menu.Item>
      ))}
    </>
  );
}
