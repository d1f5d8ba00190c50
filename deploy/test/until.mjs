/** Waiting for something to become so, with a deadline; and lines that tell how far the test is. */

const start = performance.now();

/** A line with the time since the start. */
export function say(text) {
  console.log(`${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${text}`);
}

/** Asks every 100 ms until `isSo` answers something true, and returns that. A question that fails is a no. */
export async function until(what, isSo, seconds = 60) {
  const deadline = performance.now() + seconds * 1000;
  let last;
  for (;;) {
    try {
      const answer = await isSo();
      if (answer) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`, { cause: last });
    await sleep(100);
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
