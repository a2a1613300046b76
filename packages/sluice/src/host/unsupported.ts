/**
 * What a configuration file asks for and cannot be had here. Nothing is silently ignored: it stops the start, by name, since
 * somebody would be let in, or data sent, otherwise than the file says.
 */
import type { Config, Given } from '../config/index.ts';

export interface Unsupported {
  place: Given;
  message: string;
}

const STOPPING: Readonly<Record<string, (text: string) => boolean>> = {
  auth_type: (text) => text.toLowerCase() === 'pam',
};

/** Every setting that the file gives and that cannot do here what it says. */
export function unsupportedSettings(config: Config): Unsupported[] {
  const found: Unsupported[] = [];
  for (const [name, place] of config.given)
    if (Object.hasOwn(STOPPING, name) && STOPPING[name]!(place.text))
      found.push({
        place,
        message: `${name} = ${place.text} is not supported by this version; to run without it would not be what the file says. Remove it, or stay with your present pooler for now`,
      });
  return found;
}
