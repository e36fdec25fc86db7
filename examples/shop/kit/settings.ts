/** What a service is told by its environment, read once, with refusals that name the variable. */

export interface Settings {
  port: number;
  /** Where files live that must outlive the process. */
  dataDir: string;
  databaseUrl: string | undefined;
  redisUrl: string | undefined;
  /** Shown on /info and in telemetry, so that a release can be told from the next. */
  release: string;
}

export function readSettings(service: string, env: NodeJS.ProcessEnv = process.env): Settings {
  return {
    port: wholeNumber(env, "PORT", 0, 0, 65_535),
    dataDir: env["STEAD_DATA_DIR"] || `.data/${service}`,
    databaseUrl: env["DATABASE_URL"] || undefined,
    redisUrl: env["REDIS_URL"] || undefined,
    release: env["STEAD_RELEASE"] || env["RELEASE"] || "unreleased",
  };
}

export function wholeNumber(
  env: NodeJS.ProcessEnv,
  name: string,
  otherwise: number,
  min: number,
  max: number,
): number {
  const text = env[name];
  if (text === undefined || text === "") return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new Error(`${name} is "${text}": expected a whole number from ${min} to ${max}`);
  }
  return value;
}

/** The address of another service. Its binding has to exist: a shop without it can't work. */
export function boundService(name: string, env: NodeJS.ProcessEnv = process.env): URL {
  const variable = `${name.toUpperCase()}_URL`;
  const text = env[variable];
  if (!text) throw new Error(`${variable} is not set: this service needs "${name}" bound to it`);
  if (!URL.canParse(text)) throw new Error(`${variable} is "${text}": expected an address such as http://127.0.0.1:4000`);
  return new URL(text);
}
