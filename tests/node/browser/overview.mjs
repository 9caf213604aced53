// The overview for operators: without a pointer from signing in to signing out, what axe-core finds on each of its pages, that it
// fits a phone, and its pictures where the world names a folder for them.
import assert from 'node:assert/strict';
import * as b from './helpers.mjs';

const { world } = b;

/** A browser that is signed in by the token's form. */
async function signedIn(browser, options) {
  const visit = await b.visit(browser, options);
  await visit.page.goto(`${world.url}/admin`);
  await visit.page.locator('#token').fill(world.token);
  await b.press(visit.page);
  await visit.page.locator('#now').waitFor();
  return visit;
}

await b.main(async ({ browser, check }) => {
  await check('the keyboard alone is enough', async () => {
    const { page, context, problems } = await b.visit(browser);
    const enter = () => page.keyboard.press('Enter');
    await page.goto(`${world.url}/admin`);
    await b.tabTo(page, 'Admin token');
    await page.keyboard.type('wrong');
    await enter();
    await b.says(page, 'This is not an admin token.');
    await b.tabTo(page, 'Admin token');
    await page.keyboard.type(world.token);
    await enter();
    await page.locator('#now').waitFor();
    await b.tabTo(page, 'Connecting');
    await enter();
    assert.equal(new URL(page.url()).hash, '#connecting');
    await b.tabTo(page, 'User');
    await page.keyboard.type('nobody at all');
    await enter();
    await page.waitForURL(/user=nobody/);
    await b.says(page, 'No such event.');
    await page.goto(`${world.url}/admin`);
    await b.tabTo(page, 'Sign out');
    await enter();
    await page.locator('#token').waitFor();
    assert.equal(await b.heading(page), 'Sign in');
    assert.deepEqual(problems, []);
    await context.close();
  });
  for (const [size, viewport] of Object.entries(b.SIZES)) {
    await check(`axe finds nothing on a ${size}`, async () => {
      const stranger = await b.visit(browser, { viewport });
      await stranger.page.goto(`${world.url}/admin`);
      await b.examine(stranger.page);
      await stranger.page.locator('#token').fill('wrong');
      await b.press(stranger.page);
      await stranger.page.locator('[role=alert]').waitFor();
      await b.examine(stranger.page);
      await stranger.page.goto(`${world.url}/admin/sign-in?link=x`);
      await b.examine(stranger.page);
      await stranger.context.close();
      const { page, context, problems } = await signedIn(browser, { viewport });
      await b.examine(page);
      await b.fits(page);
      for (const summary of await page.locator('summary').all()) await summary.click();
      await b.examine(page);
      await b.fits(page);
      await page.locator('#unused-days').fill('20');
      await page.locator('form[action="/admin/unused"] button').click();
      await page.locator('h1').waitFor();
      await b.examine(page);
      await b.fits(page);
      for (const query of ['?user=nobody', '?type=nothing']) {
        await page.goto(`${world.url}/admin${query}`);
        await b.examine(page);
      }
      assert.deepEqual(problems, []);
      await context.close();
    });
  }
  const shoot = (name, options) =>
    check(name, async () => {
      const { page, context } = await signedIn(browser, { reducedMotion: 'reduce', ...options });
      await page.goto(`${world.url}/admin?type=connected`);
      await page.mouse.move(0, 0);
      await page.screenshot({ path: `${world.images}/${name}.png`, animations: 'disabled', fullPage: true });
      await context.close();
    });
  if (world.images) {
    await shoot('overview-light', { viewport: { width: 1280, height: 900 } });
    await shoot('overview-dark', { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' });
    await shoot('overview-phone', { viewport: b.SIZES.phone, deviceScaleFactor: 2 });
  }
});
