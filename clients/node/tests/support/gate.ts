/** Something that handlers wait for until the test lets them go on. */
export class Gate {
  lift: () => void = () => {};
  readonly open = new Promise<void>((resolve) => {
    this.lift = resolve;
  });
}
