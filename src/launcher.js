#!/usr/bin/env node
/*
 * The `headwater` command's first lines, shipped as they stand (dist/headwater.js). They promise that the
 * program runs on the Node release it is tested with: an older one on the PATH (a global install: the
 * pinned Node's own `bin` is not on the PATH there) only starts the pinned one, or says what to install.
 * Nothing newer than Node 12 understands may stand here: the old one has to get as far as the message.
 */
const OLDEST_NODE = 24;

async function restartWithPinnedNode() {
	const { spawn } = await import("node:child_process");
	const { createRequire } = await import("node:module");
	const { constants } = await import("node:os");
	const { isatty } = await import("node:tty");
	const carrier = `node-${process.platform}-${process.arch}`;
	let node;
	try {
		node = createRequire(import.meta.url).resolve(`${carrier}/bin/node`);
	} catch (_notInstalled) {
		console.error(
			`headwater needs Node.js ${OLDEST_NODE} or later and found ${process.version}. The package ` +
				`${carrier}, which brings the right one, is not installed:\n` +
				`install headwater again without --omit=optional, or put Node.js ${OLDEST_NODE} on the PATH.`,
		);
		process.exit(1);
	}
	const child = spawn(node, [...process.execArgv, ...process.argv.slice(1)], { stdio: "inherit" });
	for (const signal of ["SIGTERM", "SIGUSR1", "SIGUSR2"]) process.on(signal, () => child.kill(signal));
	for (const signal of ["SIGINT", "SIGHUP", "SIGQUIT"]) {
		// A terminal sends these to both processes; twice would read as "at once" there.
		process.on(signal, () => isatty(0) || child.kill(signal));
	}
	child.on("error", (error) => {
		console.error(`headwater: cannot run ${node}: ${error.message}`);
		process.exit(1);
	});
	child.on("exit", (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code));
}

if (Number.parseInt(process.versions.node, 10) >= OLDEST_NODE) {
	import("./main.js");
} else {
	restartWithPinnedNode();
}
