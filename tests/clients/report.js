// A reporter for node's test runner: one line of JSON for each test, for test_node_clients.py.

export default async function* report(events) {
  for await (const { type, data } of events) {
    if ((type === 'test:pass' || type === 'test:fail') && data.nesting === 0) {
      const error = data.details?.error;
      const cause = error?.cause ?? error;
      yield JSON.stringify({
        name: data.name,
        passed: type === 'test:pass',
        seconds: (data.details?.duration_ms ?? 0) / 1000,
        skipped: Boolean(data.skip),
        why: cause ? [cause.stack ?? cause, JSON.stringify(cause.command)].join('\n') : '',
      }) + '\n';
    } else if (type === 'test:stderr' || type === 'test:stdout') {
      yield JSON.stringify({ said: data.message }) + '\n';
    }
  }
}
