// From a link to a disconnected account without a pointer: Tab, Enter and typing.
import assert from 'node:assert/strict';
import * as b from './helpers.mjs';

const { world } = b;

/** Presses Tab until the focus is on what has this name, and fails where it never comes, or can't be seen. */
async function tabTo(page, name) {
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

await b.main(async ({ browser, check }) => {
  await check('from a link to a disconnected account', async () => {
    const user = 'keys-only';
    const { page, context, problems } = await b.visit(browser);
    const enter = () => page.keyboard.press('Enter');
    await page.goto(await b.linkFromError(user));
    await tabTo(page, 'Continue to CRM');
    await enter();
    await b.consent(page, user);
    await page.waitForURL(`${world.url}/dashboard?connected=crm`);
    await tabTo(page, '3 permissions');
    await enter();
    await b.says(page, 'See your contacts');
    await tabTo(page, 'Rename CRM (default)');
    await enter();
    await page.waitForURL(/dashboard\/rename/);
    await tabTo(page, 'New label');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('office');
    await enter();
    await page.waitForURL(/renamed=crm/);
    assert.equal(await b.whoami(user, 'office'), user);
    await tabTo(page, 'Disconnect CRM (office)');
    await enter();
    await page.waitForURL(/dashboard\/disconnect/);
    await tabTo(page, 'Disconnect CRM');
    await enter();
    await page.waitForURL(/disconnected=crm/);
    assert.equal(await b.whoami(user), 'auth_required');
    assert.deepEqual(problems, []);
    await context.close();
  });
});
