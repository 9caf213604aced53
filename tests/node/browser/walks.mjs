// Every walk that a person may take, with and without JavaScript, on a phone and a large screen.
import assert from 'node:assert/strict';
import * as b from './helpers.mjs';

const { world } = b;

const walks = {
  /** A refused call's page in the browser leads through login and consent to the dashboard. */
  async 'from a refused call to the dashboard'({ page, context, user }) {
    await context.route(`${world.url}/proxy/**`, (route) =>
      route.continue({ headers: { ...route.request().headers(), authorization: `Bearer ${b.jwt(user)}` } }),
    );
    const refused = await page.goto(`${world.url}/proxy/crm/whoami`);
    assert.equal(refused.status(), 401);
    await b.fits(page);
    await page.locator('a.button').click();
    await page.waitForURL(/\/connect\/crm\?ticket=/);
    for (const text of ['CRM', 'Acme Helpdesk', user, 'See your contacts']) await b.says(page, text);
    await b.fits(page);
    await b.press(page);
    await b.consent(page, user);
    await page.waitForURL(`${world.url}/dashboard?connected=crm`);
    await b.says(page, 'CRM is connected');
    await b.says(page, `${user}@example.com`);
    await b.fits(page);
    assert.equal(await b.whoami(user), user);
  },

  async 'a refusal at the provider, and another try'({ page, user }) {
    await page.goto(await b.linkFromError(user));
    await b.press(page);
    await page.locator('a[href*="/abort"]').click();
    await page.waitForURL(/\/oauth\/callback\/crm/);
    assert.match(await b.heading(page), /not connected|refused|declined|did not/i);
    await b.fits(page);
    assert.equal(await b.whoami(user), 'auth_required');
    await page.getByRole('link', { name: 'Try again' }).click();
    await b.press(page);
    await b.consent(page, user);
    await page.waitForURL(`${world.url}/dashboard?connected=crm`);
    assert.equal(await b.whoami(user), user);
  },

  async 'reconnecting from the dashboard'({ page, user }) {
    await b.connect(page, await b.linkFromError(user), user);
    await b.signIn(page, user);
    await page.getByRole('link', { name: 'Reconnect CRM (default)' }).click();
    await b.says(page, `${user}@example.com`);
    await b.press(page);
    await b.consent(page, user);
    await page.waitForURL(`${world.url}/dashboard?connected=crm`);
    assert.equal((await b.call(user, '/connections')).json.connections.length, 1);
  },

  /** Beside the first, by its own label; the first one's account again renews the first. */
  async 'a second account, and the first one once more'({ page, context, user }) {
    await b.connect(page, await b.linkFromError(user), user);
    await b.signIn(page, user);
    const add = async (label) => {
      const details = page.locator('details', { has: page.locator('#account-crm') });
      await details.locator('summary').click();
      await details.locator('input').fill(label);
      await details.locator('button').click();
      await b.press(page);
    };
    await b.forgetProvider(context);
    await add('work');
    await b.consent(page, `${user}-work`);
    await page.waitForURL(`${world.url}/dashboard?connected=crm`);
    for (const text of [`${user}@example.com`, `${user}-work@example.com`]) await b.says(page, text);
    await b.fits(page);
    assert.deepEqual([await b.whoami(user), await b.whoami(user, 'work')], [user, `${user}-work`]);
    await add('third');
    await b.consent(page, `${user}-work`);
    await page.waitForURL(`${world.url}/dashboard?connected=crm&renewed=work`);
    await b.says(page, 'connected already');
    assert.equal((await b.call(user, '/connections')).json.connections.length, 2);
  },

  async 'another account under the same label asks first'({ page, context, user }) {
    await b.connect(page, await b.linkFromError(user), user);
    await b.forgetProvider(context);
    await page.goto(await b.askForLink(user));
    await b.press(page);
    await b.consent(page, `${user}-2`);
    await b.says(page, `${user}-2@example.com`);
    await b.fits(page);
    assert.equal(await b.whoami(user), user);
    await page.locator('#account').fill('second');
    await page.getByRole('button', { name: 'Keep both' }).click();
    await page.waitForURL(`${world.url}/dashboard?connected=crm`);
    assert.deepEqual([await b.whoami(user, 'default'), await b.whoami(user, 'second')], [user, `${user}-2`]);
  },

  /** Somebody's callback URL in another browser is refused before its code goes anywhere; its owner still can. */
  async 'a callback in another browser'({ page, user, browser, options }) {
    const url = await b.callbackUrl(page, await b.linkFromError(user), user);
    const other = await b.visit(browser, options);
    const answer = await other.page.goto(url);
    assert.equal(answer.status(), 400);
    await b.says(other.page, 'browser');
    await b.fits(other.page);
    assert.deepEqual(other.problems, []);
    await other.context.close();
    assert.equal(await b.whoami(user), 'auth_required');
    // A code works once: that the owner's still does shows that it went nowhere.
    await page.goto(url);
    await page.waitForURL(`${world.url}/dashboard?connected=crm`);
    assert.equal(await b.whoami(user), user);
  },

  async 'a link that was used'({ page, user, browser, options }) {
    const link = await b.linkFromError(user);
    await b.connect(page, link, user);
    for (const again of [{ page }, await b.visit(browser, options)]) {
      const answer = await again.page.goto(link);
      assert.equal(answer.status(), 400);
      assert.match(await b.heading(again.page), /already been used/);
      await b.fits(again.page);
      await again.context?.close();
    }
  },

  async 'another label, and one that is taken or malformed'({ page, context, user }) {
    await b.connect(page, await b.linkFromError(user), user);
    await b.forgetProvider(context);
    await b.connect(page, await b.askForLink(user, { account: 'work' }), `${user}-work`);
    await b.signIn(page, user);
    const rename = async (label) => {
      await page.locator('#label').fill(label);
      await page.getByRole('button', { name: 'Save' }).click();
    };
    await page.getByRole('link', { name: 'Rename CRM (work)' }).click();
    await rename('default');
    assert.match(await page.locator('#error').innerText(), /another CRM account/);
    await b.fits(page);
    await rename('office');
    await page.waitForURL(`${world.url}/dashboard?renamed=crm`);
    assert.deepEqual([await b.whoami(user, 'office'), await b.whoami(user, 'work')], [`${user}-work`, 'auth_required']);
    // Under the new label it is disconnected, too.
    await page.getByRole('link', { name: 'Disconnect CRM (office)' }).click();
    await b.press(page);
    await page.waitForURL(`${world.url}/dashboard?disconnected=crm`);
    assert.equal(await b.whoami(user, 'office'), 'auth_required');
  },

  /** Who is on a key is shown the way to an account, and the prompt ends there. */
  async 'from an API key to an account'({ page, user }) {
    const stored = await b.call(user, '/connections/calendar/api-key', { method: 'PUT', body: { api_key: 'sk-test' } });
    assert.equal(stored.status, 204);
    await b.signIn(page, user);
    const prompt = page.locator('.migrate');
    assert.equal(await prompt.count(), 1);
    await b.fits(page);
    await page.getByRole('link', { name: 'Connect Calendar (default)', exact: true }).click();
    await b.press(page);
    await b.consent(page, user);
    await page.waitForURL(`${world.url}/dashboard?connected=calendar`);
    assert.equal(await prompt.count(), 0);
    assert.equal((await b.call(user, '/proxy/calendar/whoami')).json.sub, user);
    await page.locator('a[href*="/dashboard/api-key/remove"]').click();
    await b.fits(page);
    await b.press(page);
    await page.waitForURL(`${world.url}/dashboard?key_removed=calendar`);
    assert.equal((await b.call(user, '/proxy/calendar/whoami')).json.sub, user);
  },

  async 'disconnecting, and signing out'({ page, user }) {
    await b.connect(page, await b.linkFromError(user), user);
    await page.getByRole('link', { name: 'Disconnect CRM (default)' }).click();
    await b.says(page, 'Disconnect CRM?');
    await b.fits(page);
    assert.equal(await b.whoami(user), user);
    await b.press(page);
    await page.waitForURL(`${world.url}/dashboard?disconnected=crm`);
    await b.says(page, 'CRM is disconnected');
    assert.equal(await b.whoami(user), 'auth_required');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await b.says(page, 'You are signed out');
    assert.equal((await page.goto(`${world.url}/dashboard`)).status(), 401);
  },
};

await b.main(async ({ browser, check }) => {
  for (const [size, viewport] of Object.entries(b.SIZES)) {
    for (const javaScriptEnabled of [true, false]) {
      const variant = `${size}, JavaScript ${javaScriptEnabled ? 'on' : 'off'}`;
      const options = { viewport, javaScriptEnabled };
      await b.severalAtOnce(
        Object.entries(walks).map(([name, walk], index) => () =>
          check(`${name} (${variant})`, async () => {
            const visit = await b.visit(browser, options);
            const user = `w${index}-${size}-${javaScriptEnabled ? 'js' : 'plain'}`;
            try {
              await walk({ ...visit, user, browser, options });
              assert.deepEqual(visit.problems, []);
            } finally {
              await visit.context.close();
            }
          }),
        ),
      );
    }
  }
});
