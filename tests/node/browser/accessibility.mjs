// What axe-core finds on every page, in light and dark, in each language: nothing.
import assert from 'node:assert/strict';
import * as b from './helpers.mjs';

const { world } = b;
const callbackOf = async ({ page, user }, service = 'crm') =>
  new URL(await b.callbackUrl(page, await b.askForLink(user, { service }), user));

/** Pages by name: each is led to by `go`, and has this status. */
const pages = {
  'a call without a connection': [401, async ({ page, context, user }) => {
    await context.route(`${world.url}/proxy/**`, (route) =>
      route.continue({ headers: { ...route.request().headers(), authorization: `Bearer ${b.jwt(user)}` } }),
    );
    return page.goto(`${world.url}/proxy/crm/whoami`);
  }],
  'connect': [200, async ({ page, user }) => page.goto(await b.linkFromError(user, 'crm', { name: 'Ada Lovelace' }))],
  'connect under a label': [200, async ({ page, user }) => page.goto(await b.askForLink(user, { account: 'work' }))],
  'no ticket': [400, ({ page }) => page.goto(`${world.url}/connect/crm`)],
  'a bad ticket': [400, ({ page }) => page.goto(`${world.url}/connect/crm?ticket=x`)],
  'an unknown service': [400, ({ page }) => page.goto(`${world.url}/connect/none?ticket=x`)],
  'no such page': [404, ({ page }) => page.goto(`${world.url}/nothing/here`)],
  'a stranger': [401, ({ page }) => page.goto(`${world.url}/dashboard`)],
  'a dashboard link that is over': [400, ({ page }) => page.goto(`${world.url}/dashboard?link=x`)],
  'a dashboard link': [200, async ({ page, user }) => {
    const { json } = await b.call(user, '/dashboard-links', { method: 'POST', claims: { name: 'Ada Lovelace' } });
    return page.goto(json.dashboard_url);
  }],
  'a callback without a state': [400, ({ page }) => page.goto(`${world.url}/oauth/callback/crm`)],
  'a callback with an unknown state': [400, ({ page }) => page.goto(`${world.url}/oauth/callback/crm?state=x&code=y`)],
  'a refusal at the provider': [200, async ({ page, user }) => {
    await page.goto(await b.askForLink(user));
    await b.press(page);
    const callback = page.waitForResponse((response) => response.url().includes('/oauth/callback/'));
    await page.locator('a[href*="/abort"]').click();
    return callback;
  }],
  'a mixed-up issuer': [400, async (at) => {
    const url = await callbackOf(at);
    url.searchParams.set('iss', 'https://evil.example');
    return at.page.goto(url.href);
  }],
  "a provider's error": [502, async (at) => {
    const url = await callbackOf(at);
    url.searchParams.delete('code');
    url.searchParams.set('error', 'server_error');
    url.searchParams.set('error_description', '<b>no</b>');
    return at.page.goto(url.href);
  }],
  'an exchange that fails': [502, async (at) => {
    const url = await callbackOf(at, 'calendar');
    await fetch(`${world.control}/faults`, { method: 'POST', body: '{"via":"calendar","status":500,"body":"{}"}' });
    return at.page.goto(url.href);
  }],
  'a callback in another browser': [400, async (at) => {
    const url = await callbackOf(at);
    await at.context.clearCookies();
    return at.page.goto(url.href);
  }],
  'a dashboard with nothing on it': [200, async ({ page, user }) => {
    await b.signIn(page, user);
    return page.reload();
  }],
  'the dashboard after connecting': [200, async ({ page, user }) => {
    await b.connect(page, await b.askForLink(user), user);
    return page.reload();
  }],
  'a link that was used': [400, async ({ page, user }) => {
    const link = await b.askForLink(user);
    await b.connect(page, link, user);
    return page.goto(link);
  }],
  'a full dashboard, with everything open': [200, async ({ page, context, user }) => {
    await b.connect(page, await b.askForLink(user), user);
    await b.forgetProvider(context);
    await b.connect(page, await b.askForLink(user, { account: 'work' }), `${user}-work`);
    await b.call(user, '/connections/calendar/api-key', { method: 'PUT', body: { api_key: 'sk-test' } });
    await b.forgetProvider(context);
    await b.signIn(page, user);
    const answer = await page.goto(`${world.url}/dashboard?connected=crm&renewed=work`);
    for (const summary of await page.locator('summary').all()) await summary.click();
    return answer;
  }],
  'disconnect': [200, async ({ page, user }) => {
    await b.connect(page, await b.askForLink(user), user);
    return page.goto(`${world.url}/dashboard/disconnect?service=crm&account=default`);
  }],
  'rename, with a label that is taken': [409, async ({ page, context, user }) => {
    await b.connect(page, await b.askForLink(user), user);
    await b.forgetProvider(context);
    await b.connect(page, await b.askForLink(user, { account: 'work' }), `${user}-work`);
    await page.goto(`${world.url}/dashboard/rename?service=crm&account=work`);
    await b.examine(page);
    const answer = page.waitForResponse((response) => response.request().method() === 'POST');
    await page.locator('#label').fill('default');
    await b.press(page);
    return answer;
  }],
  'another account under the same label': [200, async ({ page, context, user }) => {
    await b.connect(page, await b.askForLink(user), user);
    await b.forgetProvider(context);
    const callback = page.waitForResponse((response) => response.url().includes('/oauth/callback/'));
    await b.connect(page, await b.askForLink(user), `${user}-2`);
    return callback;
  }],
  'taking a key away': [200, async ({ page, user }) => {
    await b.call(user, '/connections/calendar/api-key', { method: 'PUT', body: { api_key: 'sk-test' } });
    await b.signIn(page, user);
    return page.goto(`${world.url}/dashboard/api-key/remove?service=calendar&account=default`);
  }],
  'signed out': [200, async ({ page, user }) => {
    await b.signIn(page, user);
    const answer = page.waitForResponse((response) => response.request().method() === 'POST');
    await page.locator('.who button').click();
    return answer;
  }],
};

/** Under `connect.binding: confirm`, in the operator's brand. */
const pending = {
  'connect': pages['connect'],
  'a bad ticket': pages['a bad ticket'],
  'a code to copy': [200, async ({ page, user }) => {
    const callback = page.waitForResponse((response) => response.url().includes('/oauth/callback/'));
    await b.connect(page, await b.askForLink(user), user);
    return callback;
  }],
  'a dashboard on which something waits': [200, async ({ page, user }) => {
    await b.connect(page, await b.askForLink(user), user);
    await b.signIn(page, user);
    return page.reload();
  }],
};

await b.main(async ({ browser, check }) => {
  const all = Object.entries(world.binding === 'confirm' ? pending : pages);
  const inLanguage = async (locale) => {
    for (const [index, [name, [status, go]]] of all.entries()) {
      await check(`${name} (${locale})`, async () => {
        const visit = await b.visit(browser, { locale, viewport: b.SIZES.phone });
        try {
          const answer = await go({ ...visit, user: `a${index}-${locale}` });
          assert.equal(answer.status(), status, page(visit));
          await visit.page.waitForLoadState();
          await b.examine(visit.page);
          await b.fits(visit.page);
        } finally {
          await visit.context.close();
        }
      });
    }
  };
  const page = (visit) => visit.page.url();
  await Promise.all(['en-GB', 'de-DE'].map(inLanguage));
});
