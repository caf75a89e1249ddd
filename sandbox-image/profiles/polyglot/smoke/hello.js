const [, , name] = process.argv;
console.log(`hello ${name} ${[1, 2].length}`);
