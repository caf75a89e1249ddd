declare const process: { readonly argv: readonly string[] };
const items: readonly number[] = [1, 2];
console.log(`hello ${process.argv[2]} ${items.length}`);
