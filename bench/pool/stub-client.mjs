// A client without a network: connects after `dialMs`, answers a query after `queryMs` (0: in the same turn).
import { EventEmitter } from 'node:events';

export function stubClient({ dialMs = 0, queryMs = 0 } = {}) {
  return class StubClient extends EventEmitter {
    _queryable = true;
    _ending = false;
    connect(callback) {
      if (dialMs === 0) setImmediate(callback, null);
      else setTimeout(callback, dialMs, null);
    }
    query(_text, values, callback) {
      const done = typeof values === 'function' ? values : callback;
      if (done === undefined) return new Promise((resolve) => setTimeout(resolve, queryMs, { rows: [] }));
      setTimeout(done, queryMs, null, { rows: [] });
    }
    end(callback) {
      this._ending = true;
      if (callback) setImmediate(callback);
      else return Promise.resolve();
    }
    ref() {}
    unref() {}
  };
}
