/**
 * What a configuration file asks for and this version does not do yet. Nothing is silently ignored: what would open a door or
 * break a promise stops the start, the rest is a warning by name. This list shrinks as settings come to work.
 */
import type { Config, Given } from '../config/index.ts';

export interface Unsupported {
  severity: 'error' | 'warning';
  place: Given;
  message: string;
}

/** Without these, somebody would be let in, or data sent, otherwise than the file says. */
const STOPPING: Readonly<Record<string, (text: string) => boolean>> = {
  auth_type: (text) => text.toLowerCase() === 'pam',
};

const WITHOUT_EFFECT = new Set(['http_listen']);

/** Every setting that the file gives and that does not do here what it says. */
export function unsupportedSettings(config: Config): Unsupported[] {
  const found: Unsupported[] = [];
  for (const [name, place] of config.given) {
    const stops = Object.hasOwn(STOPPING, name) && STOPPING[name]!(place.text);
    if (stops)
      found.push({
        severity: 'error',
        place,
        message: `${name} = ${place.text} is not supported by this version; to run without it would not be what the file says. Remove it, or stay with your present pooler for now`,
      });
    else if (WITHOUT_EFFECT.has(name))
      found.push({ severity: 'warning', place, message: `${name} has no effect in this version` });
  }
  return found;
}
