/** Looks at the pages as a visitor would, in a headless Chromium: does each one change by itself, and come back after a fault? */

import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { until } from './waiting.ts';

/** Each application's page, and the part of it that changes by events alone. */
const PAGES = [
  { app: 'workshops', changing: '.workshops .table' },
  { app: 'lab', changing: '.equipment' },
  { app: 'agency', changing: '.tiles' },
  { app: 'auction', changing: '.auction .rows' },
  { app: 'shifts', changing: '.activity' },
];

/** Rejects with what doesn't work. With a directory for them, it makes screenshots. */
export async function check(address: string, screenshots: string | undefined): Promise<void> {
  const browser = await chromium.launch({
    // Ctrl-C is for main.ts, which ends everything; the browser goes with the process.
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--disable-background-networking',
      '--disable-component-update',
    ],
  });
  try {
    const page = await open(browser, address);
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    for (const { app, changing } of PAGES) {
      await page.goto(`${address}#/${app}`);
      await live(page);
      await changes(page, changing);
      await changes(page, changing);
      console.log(`${app}: changes by itself`);
    }
    await rollsBack(page, address);
    await comesBack(page, address);
    if (errors.length > 0) throw new Error(`errors on the pages: ${errors.join('; ')}`);
    if (screenshots) await keep(browser, address, screenshots);
  } finally {
    await browser.close();
  }
}

async function open(browser: Browser, address: string, colorScheme: 'light' | 'dark' = 'light'): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1360, height: 900 }, colorScheme });
  await page.goto(address);
  return page;
}

async function live(page: Page): Promise<void> {
  await page.locator('.status[data-tone="good"]').waitFor();
}

async function changes(page: Page, part: string): Promise<void> {
  const before = await page.locator(part).first().innerText();
  await until(`${part} changes`, async () => (await page.locator(part).first().innerText()) !== before);
}

/** Every third switch of a timer is refused: it is shown as switched, and then as it was. */
async function rollsBack(page: Page, address: string): Promise<void> {
  await page.goto(`${address}#/agency`);
  const timer = page.getByRole('switch', { name: 'Brand workshop' });
  const shown = await timer.evaluateHandle((element) => {
    const states: (string | null)[] = [];
    const note = () => states.push(element.getAttribute('aria-checked'));
    new MutationObserver(note).observe(element, { attributeFilter: ['aria-checked'] });
    return states;
  });
  for (const states of ['true', 'true,false', 'true,false,true,false']) {
    await timer.click();
    await until(`the timer was shown as ${states}`, async () => (await shown.jsonValue()).join() === states);
  }
  await page.locator('.toast', { hasText: 'Switched back' }).waitFor();
  console.log('agency: a refused update is taken back');
}

/** Kills the node: the page says so, comes back by itself and goes on. */
async function comesBack(page: Page, address: string): Promise<void> {
  await page.goto(`${address}#/workshops`);
  await page.getByRole('button', { name: 'Kill the node' }).click();
  await page.locator('.status', { hasText: 'Reconnecting' }).waitFor();
  await live(page);
  await changes(page, '.workshops .table');
  console.log('workshops: live again after the node was killed');
}

/** Screenshots of all pages, for the documentation. */
async function keep(browser: Browser, address: string, directory: string): Promise<void> {
  const light = await open(browser, address);
  const dark = await open(browser, address, 'dark');
  const shot = (page: Page, name: string) => page.screenshot({ path: join(directory, `dashboard-${name}.png`) });
  for (const { app, changing } of PAGES) {
    const page = app === 'auction' ? dark : light;
    await page.goto(`${address}#/${app}`);
    await live(page);
    // Until there is something to see in lists that begin empty.
    for (let times = 0; times < 5; times += 1) await changes(page, changing);
    await shot(page, app);
  }
  const phone = await open(browser, address);
  await phone.setViewportSize({ width: 390, height: 844 });
  await phone.goto(`${address}#/shifts`);
  await live(phone);
  await changes(phone, '.tiles');
  await shot(phone, 'phone');
  await light.goto(`${address}#/lab`);
  for (let times = 0; times < 8; times += 1) await changes(light, '.equipment');
  await light.getByRole('button', { name: 'Cut the network' }).click();
  const toast = light.locator('.toast', { hasText: 'Connection lost' });
  await toast.evaluate((element) => Promise.all(element.getAnimations().map(({ finished }) => finished)));
  await shot(light, 'reconnecting');
}
