// An operator's webhook endpoint, verified by npm's `standardwebhooks`, which knows nothing of Valetkey. Argument: JSON
// {port?, secret}. Prints {url, control} when it listens; `GET /received` and `POST /settings {status, retry_after}` steer it.
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const { port = 0, secret } = JSON.parse(process.argv[2]);
const received = [];
const settings = { status: 204 };

/** Whether the library accepts this body under these headers. */
function accepts(body, headers) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch {
    return false;
  }
}

const server = createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks).toString();
    const answer = (status, value) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    switch (`${request.method} ${request.url}`) {
      case 'GET /received':
        return answer(200, received);
      case 'POST /settings':
        Object.assign(settings, JSON.parse(body));
        return answer(200, {});
      case 'POST /hook': {
        const { headers } = request;
        const later = { ...headers, 'webhook-timestamp': String(Number(headers['webhook-timestamp']) + 1) };
        received.push({
          id: headers['webhook-id'],
          type: headers['content-type'],
          signatures: headers['webhook-signature'].split(' ').length,
          body: JSON.parse(body),
          accepted: accepts(body, headers),
          changed_body_accepted: accepts(body.replace('"account"', '"Account"'), headers),
          changed_time_accepted: accepts(body, later),
          other_id_accepted: accepts(body, { ...headers, 'webhook-id': 'msg_other' }),
          answered: settings.status,
        });
        if (settings.retry_after !== undefined) response.setHeader('retry-after', String(settings.retry_after));
        return answer(settings.status, {});
      }
      default:
        return answer(404, {});
    }
  });
});
server.listen(port, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  process.stdout.write(`${JSON.stringify({ url })}\n`);
});
process.stdin.on('end', () => process.exit(0)).resume();
