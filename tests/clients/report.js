// A reporter for node's test runner: one line of JSON for each test, for test_node_clients.py.

export default async function* report(events) {
  for await (const { type, data } of events) {
    if ((type === 'test:pass' || type === 'test:fail') && data.nesting === 0) {
      const error = data.details?.error;
      const cause = error?.cause ?? error;
      yield JSON.stringify({
        name: data.name,
        passed: type === 'test:pass',
        skipped: Boolean(data.skip),
        why: cause ? String(cause.stack ?? cause) : '',
      }) + '\n';
    } else if (type === 'test:stderr' || type === 'test:stdout') {
      yield JSON.stringify({ said: data.message }) + '\n';
    }
  }
}
