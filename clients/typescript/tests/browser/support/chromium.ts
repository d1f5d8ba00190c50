/** A real Chromium, and the tabs of its users. */

import { type Browser, chromium, type Page } from 'playwright-core';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Starts the system's Chromium, or what stands for it. */
export function launch(executablePath = '/usr/bin/chromium'): Promise<Browser> {
  return chromium.launch({ executablePath, args: FLAGS });
}

/** Resolves when an element of the page has this text in it. */
export async function shows(page: Page, selector: string, text: string | RegExp): Promise<void> {
  await page.locator(selector).filter({ hasText: text }).first().waitFor({ state: 'attached' });
}

/** Stops every page of a browser, as a machine does that sleeps: no timer runs, and nothing is read. Call what it returns to wake up. */
export async function sleep(browser: Browser): Promise<() => void> {
  const system = await browser.newBrowserCDPSession();
  const { processInfo } = await system.send('SystemInfo.getProcessInfo');
  const renderers = processInfo.filter(({ type }) => type === 'renderer');
  const signal = (name: 'SIGSTOP' | 'SIGCONT') => {
    for (const { id } of renderers) {
      process.kill(id, name);
    }
  };
  signal('SIGSTOP');
  return () => signal('SIGCONT');
}
