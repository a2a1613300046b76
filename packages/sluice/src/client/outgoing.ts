/** What one chunk sends to its server, and to its client: one of each in the process (see Gather). */
import { Gather } from '../net/gather.ts';

export const TO_SERVER = new Gather();
export const TO_CLIENT = new Gather();
