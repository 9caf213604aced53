// A person's repositories, by Octokit, told to a channel of theirs, by Slack's own SDK.
//
// Written for GitHub and Slack themselves, it works there with their tokens. What Valetkey asks of it are the two base URLs, and
// `connect` in the answer below, for the person to click.
import { Octokit } from '@octokit/rest';
import { WebClient } from '@slack/web-api';
import express from 'express';

const app = express();
const { GITHUB_API_URL: baseUrl, SLACK_API_URL: slackApiUrl, PORT = '3000' } = process.env;

const token = (request) => request.get('authorization')?.replace('Bearer ', '');
const github = (request) => new Octokit({ auth: token(request), baseUrl });
// By default the SDK tries again for half an hour, also what is refused for good.
const slack = (request) => new WebClient(token(request), { slackApiUrl, retryConfig: { retries: 0 } });

const repositories = async (request) => {
  const octokit = github(request);
  const found = await octokit.paginate(octokit.rest.repos.listForAuthenticatedUser);
  return found.map((repository) => repository.full_name);
};

app.get('/repositories', async (request, response) => {
  response.json(await repositories(request));
});

app.post('/digest/:channel', async (request, response) => {
  const text = `Your repositories: ${(await repositories(request)).join(', ')}`;
  const { ts } = await slack(request).chat.postMessage({ channel: request.params.channel, text });
  response.json({ text, ts });
});

// What GitHub and Slack refuse, or Valetkey on the way to them; Valetkey sends a link where one helps.
app.use((error, _request, response, _next) => {
  const said = error.response?.data ?? error.body ?? {};
  response.status(error.status ?? error.statusCode ?? 500).json({ message: said.message ?? error.message, connect: said.auth_url });
});

app.listen(Number(PORT), '127.0.0.1');
