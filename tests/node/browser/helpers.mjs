// What the browser scripts share: one Chromium, watched pages, callers, and the provider's own pages.
//
// A script is given a world as JSON in its first argument (tests/it/browser.rs says what is in it), prints one line of
// JSON, `{results: [{name, error?}]}`, and ends when its standard input does, so that no test can leave it behind.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

export const world = JSON.parse(process.argv[2]);
process.stdin.on('end', () => process.exit(1)).resume();

/** How long a page may take. Generous: two busy cores, a debug build. */
const PATIENCE = 40_000;
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const AXE = await readFile(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

export const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 900 } };

/** Runs `work` with a browser, and prints what came of each of its checks. */
export async function main(work) {
  const results = [];
  const browser = await chromium.launch({ executablePath: world.chromium, headless: true, args: FLAGS });
  /** One named check; its failure doesn't stop the others. */
  const check = async (name, body) => {
    try {
      await body();
      results.push({ name });
    } catch (error) {
      results.push({ name, error: String(error?.stack ?? error) });
    }
  };
  try {
    await work({ browser, check });
  } finally {
    await browser.close();
  }
  process.stdout.write(`${JSON.stringify({ results })}\n`, () => process.exit(0));
}

/** Runs tasks, a few at the same time. */
export async function severalAtOnce(tasks, workers = 3) {
  const waiting = tasks.values();
  const work = async () => {
    for (const task of waiting) await task();
  };
  await Promise.all(Array.from({ length: workers }, work));
}

/** A context with one page that is watched: `problems` collects what no page of ours may do. */
export async function visit(browser, options = {}) {
  const context = await browser.newContext({ viewport: SIZES.desktop, locale: 'en-GB', ...options });
  context.setDefaultTimeout(PATIENCE);
  const problems = [];
  const known = new Set([world.url, world.issuer].filter(Boolean).map((url) => new URL(url).host));
  context.on('request', (request) => {
    const { host, protocol } = new URL(request.url());
    if (protocol.startsWith('http') && !known.has(host)) problems.push(`asked another host: ${request.url()}`);
  });
  context.on('console', (message) => {
    const from = message.location().url;
    // A page that is an error answer is no broken page; what it fetches is.
    const ownStatus = /^Failed to load resource: the server responded with a status of 4\d\d/.test(message.text());
    const isDocument = !new URL(from || world.url).pathname.startsWith('/connect/-/');
    if (message.type() === 'error' && from.startsWith(world.url) && !(ownStatus && isDocument)) {
      problems.push(`console: ${message.text()} at ${from}`);
    }
  });
  context.on('weberror', (error) => problems.push(`script: ${error.error()}`));
  context.on('requestfailed', (request) => {
    // A page that is left takes what it still waits for along.
    const left = request.failure()?.errorText === 'net::ERR_ABORTED';
    if (request.url().startsWith(world.url) && !left) problems.push(`failed: ${request.url()} ${request.failure()?.errorText}`);
  });
  const page = await context.newPage();
  return { context, page, problems };
}

/** A caller's JWT. */
export function jwt(user, claims = {}) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = { iss: world.callers.issuer, aud: world.callers.audience, sub: user, iat: now, exp: now + 3600, ...claims };
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(body)}`;
  return `${text}.${createHmac('sha256', world.callers.secret).update(text).digest('base64url')}`;
}

/** A call as the application makes it, for `user`. */
export async function call(user, path, { method = 'GET', body, claims } = {}) {
  const response = await fetch(world.url + path, {
    method,
    headers: { authorization: `Bearer ${jwt(user, claims)}`, ...(body && { 'content-type': 'application/json' }) },
    body: body && JSON.stringify(body),
    redirect: 'manual',
  });
  const text = await response.text();
  return { status: response.status, json: text.startsWith('{') ? JSON.parse(text) : undefined };
}

/** The link that a call without a connection is answered with. */
export async function linkFromError(user, service = 'crm', claims) {
  const { status, json } = await call(user, `/proxy/${service}/whoami`, { claims });
  assert.equal(status, 401);
  assert.equal(json.status, 'auth_required');
  return json.auth_url;
}

/** A link that the application asks for. */
export async function askForLink(user, wish = {}) {
  const { status, json } = await call(user, '/connect-links', { method: 'POST', body: { service: 'crm', ...wish } });
  assert.equal(status, 200);
  return json.auth_url;
}

/** A browser with a dashboard link's session. */
export async function signIn(page, user) {
  const { json } = await call(user, '/dashboard-links', { method: 'POST' });
  await page.goto(json.dashboard_url);
  await press(page);
  await page.waitForURL(`${world.url}/dashboard`);
}

/** Who the provider says is behind the caller's connection. */
export async function whoami(user, account) {
  const { status, json } = await call(user, `/proxy/crm${account ? `@${account}` : ''}/whoami`);
  return status === 200 ? json.sub : json.status;
}

/** Presses the main button of a page. */
export const press = (page) => page.locator('main form[method=post] button.button').first().click();

/** oidc-provider's own login and consent pages, as this person; whoever is signed in there already isn't asked again. */
export async function consent(page, login) {
  await page.waitForURL((url) => url.href.startsWith(world.issuer) || !url.pathname.startsWith('/connect/'));
  for (let step = 0; step < 3 && page.url().startsWith(world.issuer); step += 1) {
    const field = page.locator('input[name=login]');
    if (await field.count()) {
      await field.fill(login);
      await page.locator('input[name=password]').fill('any');
    }
    const from = page.url();
    await page.locator('button[type=submit]').click();
    await page.waitForURL((url) => url.href !== from);
  }
}

/** The callback URL of a flow that went well so far; the browser never asks for it. */
export async function callbackUrl(page, link, login) {
  await page.goto(link);
  await press(page);
  await page.locator('input[name=login]').fill(login);
  await page.locator('input[name=password]').fill('any');
  await page.locator('button[type=submit]').click();
  const prompt = page.locator('input[name=prompt][value=consent]');
  await prompt.waitFor({ state: 'attached' });
  const action = await page.locator('form').first().getAttribute('action');
  // Redirects pass by what a page could hold up: the last step is taken beside it, with the same cookies.
  const { request } = page.context();
  let at = new URL(action, page.url()).href;
  let answer = await request.post(at, { form: { prompt: 'consent' }, maxRedirects: 0 });
  for (let step = 0; step < 5; step += 1) {
    at = new URL(answer.headers().location, at).href;
    if (at.includes('/oauth/callback/')) return at;
    answer = await request.get(at, { maxRedirects: 0 });
  }
  throw new Error(`the provider never came back: ${at}`);
}

/** The provider forgets who is signed in in this browser (cookies know hosts, not ports: by name). */
export const forgetProvider = (context) => context.clearCookies({ name: /^_/ });

/** All the way from a link, as this person at the provider. */
export async function connect(page, link, login) {
  await page.goto(link);
  await press(page);
  await consent(page, login);
  await page.waitForURL((url) => url.href.startsWith(world.url));
}

/** What the page's heading says. */
export const heading = async (page) => (await page.locator('h1').innerText()).trim();

/** Fails where `text` is not on the page. */
export async function says(page, text) {
  const all = await page.locator('body').innerText();
  assert.ok(all.includes(text), `"${text}" is not on ${page.url()}: ${all}`);
}

/** Fails where a page is wider than its window. */
export async function fits(page) {
  // By way of an element, which is waited for: a document that has only just begun has none.
  const { content, window } = await page.locator('body').evaluate(({ ownerDocument: { documentElement: root } }) => ({
    content: root.scrollWidth,
    window: root.clientWidth,
  }));
  assert.ok(content <= window, `${page.url()} is ${content} wide in a window of ${window}`);
}

/** Fails with what axe-core says about the page, in both colour schemes. */
export async function examine(page) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() =>
      // Rules for WCAG 2.2 are off by default.
      window.axe.run(document, { rules: { 'target-size': { enabled: true } }, resultTypes: ['violations'] }),
    );
    const found = violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`));
    assert.deepEqual(found, [], `${colorScheme}: ${page.url()}`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
}

/** Presses Tab until the focus is on what has this name, and fails where it never comes, or can't be seen. */
export async function tabTo(page, name) {
  for (let step = 0; step < 40; step += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return undefined;
      const label = element.labels?.[0]?.innerText;
      const style = getComputedStyle(element);
      return {
        name: element.getAttribute('aria-label') ?? label ?? element.innerText,
        ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
      };
    });
    if (at?.name?.trim().startsWith(name)) {
      assert.ok(at.ring, `the focus on ${name} can't be seen`);
      return;
    }
  }
  assert.fail(`Tab never comes to ${name} on ${page.url()}`);
}
