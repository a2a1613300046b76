/**
 * What goes with a descriptor when a running pooler hands its connections to a successor (-R): enough for the other process to
 * go on where this one stopped. Plain data, as JSON; bytes in base64. Both are of one user on one machine, which is why secrets
 * may be in it, as in PgBouncer's SHOW FDS.
 */
import { formatScramSecret, type Parameters, parseSecret, type ScramKeys, type Secret } from '@sluice/wire';
import { SessionSettings } from '../server/session-settings.ts';

/** Rises when the meaning of a parcel changes: others are not understood. */
export const PARCEL_VERSION = 1;

export type ParcelContent = ListenerParcel | ClientParcel | ServerParcel;

export interface ListenerParcel {
  readonly kind: 'listener';
  readonly host: string;
  readonly port: number;
  readonly unix: boolean;
}

export interface ClientParcel {
  readonly kind: 'client';
  readonly database: string;
  readonly user: string;
  readonly processId: number;
  readonly cancelKey: string;
  /** The port that a Unix socket stands for; -1: TCP. */
  readonly unixPort: number;
  readonly parameters: StoredParameters;
  readonly base: StoredSettings;
  readonly settings: StoredSettings;
  /** Name and tail of the Parse message. */
  readonly statements: readonly (readonly [string, string])[];
  /** How long ago, in milliseconds. */
  readonly connectedMs: number;
  readonly requestedMs: number;
  readonly credentials: StoredCredentials;
}

export interface ServerParcel {
  readonly kind: 'server';
  readonly database: string;
  readonly role: string;
  readonly processId: number;
  readonly cancelKey: string;
  readonly host: string;
  readonly port: number;
  readonly address: string | null;
  readonly unixPort: number;
  readonly parameters: StoredParameters;
  readonly startParameters: StoredParameters;
  readonly settings: StoredSettings;
  /** What it told at its login, for clients to be greeted with. */
  readonly reported: readonly (readonly [string, string])[];
  readonly connectedMs: number;
}

/** By name: the other process may follow other parameters. */
export type StoredParameters = Readonly<Record<string, string | null>>;

export interface StoredSettings {
  readonly values: readonly (readonly [string, string])[];
  readonly prepared: readonly (readonly [string, string])[];
}

/** What servers are logged in to with, as far as it is not the configuration's. */
export interface StoredCredentials {
  readonly secret: { readonly kind: Secret['kind']; readonly text: string } | null;
  readonly scramKeys: { readonly clientKey: string; readonly serverKey: string; readonly storedKey: string } | null;
}

export function encodeParcel(content: ParcelContent): string {
  return JSON.stringify({ version: PARCEL_VERSION, ...content });
}

/** Throws when it is of another version. */
export function decodeParcel(text: string): ParcelContent {
  const { version, ...content } = JSON.parse(text) as ParcelContent & { version: number };
  if (version !== PARCEL_VERSION) throw new Error(`a parcel of version ${version}, and ${PARCEL_VERSION} is known`);
  return content as ParcelContent;
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'base64'));
}

export function storeParameters({ names, values }: Parameters): StoredParameters {
  return Object.fromEntries(names.names.map((name, i) => [name, values[i] ?? null]));
}

/** `known`: which parameters are followed here. */
export function restoreParameters(stored: StoredParameters, known: Parameters): Parameters {
  let parameters = known;
  for (const [name, value] of Object.entries(stored)) {
    const index = known.names.indexOf(name);
    if (index >= 0) parameters = parameters.with(index, value);
  }
  return parameters;
}

export function storeSettings({ values, prepared }: SessionSettings): StoredSettings {
  return { values: [...values], prepared: [...prepared] };
}

export function restoreSettings({ values, prepared }: StoredSettings): SessionSettings {
  return new SessionSettings(new Map(values), new Map(prepared));
}

export function storeCredentials(secret: Secret | null, keys: ScramKeys | null): StoredCredentials {
  return {
    secret: secret === null ? null : { kind: secret.kind, text: secretText(secret) },
    scramKeys:
      keys === null
        ? null
        : {
            clientKey: toBase64(keys.clientKey),
            serverKey: toBase64(keys.serverKey),
            storedKey: toBase64(keys.storedKey),
          },
  };
}

export function restoreSecret({ secret }: StoredCredentials): Secret | null {
  if (secret === null) return null;
  return secret.kind === 'plain' ? { kind: 'plain', password: secret.text } : parseSecret(secret.text);
}

export function restoreScramKeys({ scramKeys }: StoredCredentials): ScramKeys | null {
  if (scramKeys === null) return null;
  const { clientKey, serverKey, storedKey } = scramKeys;
  return { clientKey: fromBase64(clientKey), serverKey: fromBase64(serverKey), storedKey: fromBase64(storedKey) };
}

/** As it stands in a userlist. */
export function secretText(secret: Secret): string {
  if (secret.kind === 'scram') return formatScramSecret(secret);
  return secret.kind === 'md5' ? secret.hash : secret.password;
}
