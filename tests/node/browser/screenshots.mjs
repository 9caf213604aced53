// Pictures for the documentation, into the folder that the world names. Two runs give the same pictures: nothing on them
// depends on when they were taken.
import * as b from './helpers.mjs';

const { world } = b;
const PHONE = { viewport: b.SIZES.phone, deviceScaleFactor: 2 };
const LARGE = { viewport: { width: 1180, height: 760 } };
const CLAIMS = { name: 'Ada Lovelace', email: 'ada@example.com' };

await b.main(async ({ browser, check }) => {
  const shoot = (name, options, go) =>
    check(name, async () => {
      const { context, page } = await b.visit(browser, { reducedMotion: 'reduce', ...options });
      await go(page, context);
      await page.mouse.move(0, 0);
      await page.screenshot({ path: `${world.images}/${name}.png`, animations: 'disabled' });
      await context.close();
    });
  const dashboard = (options) => async (page, context) => {
    const user = `ada-${options}`;
    await b.connect(page, await b.askForLink(user, { service: 'github' }), 'ada');
    await b.forgetProvider(context);
    await b.connect(page, await b.askForLink(user, { service: 'github', account: 'work' }), 'ada.lovelace');
    await b.forgetProvider(context);
    await b.connect(page, await b.askForLink(user, { service: 'crm' }), 'ada');
    await b.call(user, '/proxy/github/whoami', { claims: CLAIMS });
    const { json } = await b.call(user, '/dashboard-links', { method: 'POST', claims: CLAIMS });
    await page.goto(json.dashboard_url);
    await b.press(page);
    await page.waitForURL(`${world.url}/dashboard`);
  };
  const connect = async (page) => page.goto(await b.linkFromError('ada', 'github', CLAIMS));
  await shoot('connect-light', { ...LARGE, viewport: { width: 760, height: 860 } }, connect);
  await shoot('connect-dark', { ...LARGE, viewport: { width: 760, height: 860 }, colorScheme: 'dark' }, connect);
  await shoot('connect-phone', PHONE, connect);
  await shoot('dashboard-light', LARGE, dashboard('light'));
  await shoot('dashboard-dark', { ...LARGE, colorScheme: 'dark' }, dashboard('dark'));
  await shoot('dashboard-phone', PHONE, dashboard('phone'));
});
