/** Where the demo keeps its data between runs. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** XDG_STATE_HOME/sluice, ~/.local/state/sluice; for root /var/lib/sluice, since an unprivileged uid must reach it. */
export function stateDir(env: NodeJS.ProcessEnv = process.env, uid: number = process.getuid?.() ?? -1): string {
  if (env.XDG_STATE_HOME) return join(env.XDG_STATE_HOME, 'sluice');
  return uid === 0 ? '/var/lib/sluice' : join(homedir(), '.local', 'state', 'sluice');
}
