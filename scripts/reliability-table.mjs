// Prints the table of the last `make chaos` from the rows that its tests left, and writes it into docs/RELIABILITY.md
// between its two marks. A test that failed leaves no row.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';

const FAULTS = {
  interleavings: 'Model: kills, freezes, cuts, outages and failovers in virtual time, 1 to 3 processes',
  'interleavings-drains': '… with processes that stop in order (SIGTERM)',
  'interleavings-imports': '… with imports beside them',
  'interleavings-renames': '… with renames cut at each step, keys, disconnects and reconnects',
  'interleavings-partings': '… with providers that revoke a user\'s every grant, shared clients, no refresh tokens',
  'interleavings-confirms': '… with grants that wait for a word, confirmed, replaced and given up',
  'kill-9-embedded': '`kill -9`, embedded store, 1 process',
  'kill-9-redis': '`kill -9`, Redis, 3 replicas',
  rotations: 'Rotations of one grant in a row, 3 replicas',
  'redis-outages': 'Redis killed and restarted, frozen, paused, full',
  'token-endpoint': 'Token endpoint down, hanging, breaking off, raving, slow',
  'replica-frozen': 'A replica frozen for up to 4 s (SIGSTOP), 3 replicas',
  'replica-frozen-long': 'A replica frozen for 22 s, longer than a lease, 3 replicas',
  'sentinel-failover': 'Master killed under Sentinel',
  'cluster-node': 'Node of a Cluster killed, its replica promoted',
  'cluster-lone-node': 'Node of a Cluster without a replica killed and restarted',
  'clock-jumps': 'Clock of a replica jumps, up to an hour either way',
};

const folder = process.argv[2];
const rows = existsSync(folder) ? readdirSync(folder).map((file) => JSON.parse(readFileSync(`${folder}/${file}`))) : [];
const order = Object.keys(FAULTS);
rows.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));

const count = (number) => number.toLocaleString('en-US');
const head = [
  'Fault', 'Tried', 'Rotations', 'Calls', 'Cut by a kill', 'Failed', 'Failed with a cached, valid token', 'Grants lost on their way',
  'Grants lost otherwise', 'Seconds', 'Seed', 'Of note',
];
const lines = rows.map((row) => [
  FAULTS[row.name] ?? row.name, count(row.faults), count(row.rotations), count(row.calls + row.steady_calls), count(row.cut),
  count(row.failed), row.steady_calls ? `${count(row.steady_failed)} of ${count(row.steady_calls)}` : '', count(row.lost_on_the_way),
  count(row.lost_otherwise), count(row.seconds), row.seed, row.note,
]);
const table = [head, head.map((_, at) => (at > 0 && at < 10 ? '--:' : '---')), ...lines].map((line) => `| ${line.join(' | ')} |`);
console.log(table.join('\n'));

const page = 'docs/RELIABILITY.md';
const [begin, end] = ['<!-- table: begin -->', '<!-- table: end -->'];
const text = existsSync(page) ? readFileSync(page, 'utf8') : '';
const [from, to] = [text.indexOf(begin), text.indexOf(end)];
if (rows.length && from >= 0 && to > from) {
  writeFileSync(page, `${text.slice(0, from + begin.length)}\n${table.join('\n')}\n${text.slice(to)}`);
}
