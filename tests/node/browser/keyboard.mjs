// From a link to a disconnected account without a pointer: Tab, Enter and typing.
import assert from 'node:assert/strict';
import * as b from './helpers.mjs';

const { world } = b;

await b.main(async ({ browser, check }) => {
  await check('from a link to a disconnected account', async () => {
    const user = 'keys-only';
    const { page, context, problems } = await b.visit(browser);
    const enter = () => page.keyboard.press('Enter');
    await page.goto(await b.linkFromError(user));
    await b.tabTo(page, 'Continue to CRM');
    await enter();
    await b.consent(page, user);
    await page.waitForURL(`${world.url}/dashboard?connected=crm`);
    await b.tabTo(page, '3 permissions');
    await enter();
    await b.says(page, 'See your contacts');
    await b.tabTo(page, 'Rename CRM (default)');
    await enter();
    await page.waitForURL(/dashboard\/rename/);
    await b.tabTo(page, 'New label');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('office');
    await enter();
    await page.waitForURL(/renamed=crm/);
    assert.equal(await b.whoami(user, 'office'), user);
    await b.tabTo(page, 'Disconnect CRM (office)');
    await enter();
    await page.waitForURL(/dashboard\/disconnect/);
    await b.tabTo(page, 'Disconnect CRM');
    await enter();
    await page.waitForURL(/disconnected=crm/);
    assert.equal(await b.whoami(user), 'auth_required');
    assert.deepEqual(problems, []);
    await context.close();
  });
});
