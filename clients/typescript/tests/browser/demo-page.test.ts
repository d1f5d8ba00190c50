/** The page of a development node, which is made with the build for pages without a bundler. */

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../support/until.ts';
import { launch } from './support/chromium.ts';
import { binary } from './support/node.ts';
import { freePort, Running } from './support/process.ts';

let browser: Browser;
let node: Running;
let url: string;

beforeAll(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}/`;
  const env = { FANFARE_LISTEN: `127.0.0.1:${port}`, FANFARE_ADMIN_LISTEN: `127.0.0.1:${await freePort()}` };
  node = new Running(binary(), ['serve', '--dev'], env);
  await until('the node says where its page is', () => node.output.includes(url));
  browser = await launch();
});

afterAll(() => browser?.close());

/** Publishes by the page's form. */
async function publish(page: Page, data: string, isDurable: boolean): Promise<void> {
  await page.fill('#publish [name=data]', data);
  await page.setChecked('#publish [name=durable]', isDurable);
  await page.click('#publish button.primary');
  await page.waitForFunction(() => document.querySelector('#published')?.textContent?.includes('ublished'));
}

function isConnected(page: Page): Promise<unknown> {
  return page.waitForFunction(() => document.querySelector<HTMLElement>('#status')?.dataset.state === 'connected');
}

async function feeds(page: Page, ...texts: string[]): Promise<void> {
  for (const text of texts) {
    await page.locator('#feed > li', { hasText: text }).first().waitFor();
  }
}

test('what is published appears, and what was missed meanwhile comes, under a strict policy', async () => {
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => complaints.push(message.text()));
  await page.goto(url);
  await isConnected(page);
  await publish(page, '{"id": 7}', false);
  await feeds(page, '7');

  await page.click('#toggle');
  await publish(page, '{"id": 8}', true);
  await page.click('#toggle');
  await isConnected(page);
  await feeds(page, 'recovered', 'Gap');
  expect(await page.locator('#feed > li', { hasText: 'recovered' }).count()).toBe(1);
  expect(complaints).toEqual([]);
});
