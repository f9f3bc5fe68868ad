/** The demo's link over real sockets: it passes everything on, and fails as a mobile link does. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { Link } from "../../../device-sim/demo/link.ts";

const closing: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
	for (const close of closing.splice(0).reverse()) await close();
});

/** Answers each chunk with the same in capitals; what came is in `received`. */
async function hub(): Promise<{
	server: Server;
	port: number;
	received: string[];
	arrived(text: string): Promise<void>;
}> {
	const received: string[] = [];
	const server = createServer((socket) => {
		socket.on("error", () => {});
		socket.on("data", (bytes) => {
			received.push(bytes.toString());
			server.emit("arrived");
			socket.write(bytes.toString().toUpperCase());
		});
	}).listen(0, "127.0.0.1");
	await once(server, "listening");
	closing.push(() => new Promise((resolve) => server.close(resolve)));
	const { port } = server.address() as { port: number };
	const arrived = async (text: string): Promise<void> => {
		while (!received.join("").includes(text)) await once(server, "arrived");
	};
	return { server, port, received, arrived };
}

async function open(): Promise<{ link: Link; far: Awaited<ReturnType<typeof hub>>; dial(): Promise<Socket> }> {
	const far = await hub();
	const link = await Link.open();
	link.leadTo(far.port);
	closing.push(() => link.close());
	const dial = async (): Promise<Socket> => {
		const socket = connect(link.port, link.host);
		socket.on("error", () => {});
		await once(socket, "connect");
		return socket;
	};
	return { link, far, dial };
}

/** What it says until it has said so many characters. */
async function said(socket: Socket, characters: number): Promise<string> {
	let text = "";
	while (text.length < characters) text += String((await once(socket, "data"))[0]);
	return text;
}

/** A reset is an end too. */
const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once("close", () => resolve()));

describe("the demo's link", () => {
	it("passes everything on, both ways, however much", async () => {
		const { link, dial } = await open();
		const socket = await dial();
		const much = "abcdefgh".repeat(200_000);
		socket.write(much);
		expect(await said(socket, much.length)).toBe(much.toUpperCase());
		expect(link.bytesUp).toBe(much.length);
	});

	it("lets one more request through when it is cut, and loses its answer", async () => {
		const { link, far, dial } = await open();
		const socket = await dial();
		socket.write("one");
		await said(socket, 3);
		link.cut();
		const answers: string[] = [];
		socket.on("data", (bytes) => answers.push(bytes.toString()));
		socket.write("two");
		await far.arrived("two");
		socket.write("three");
		// The answer to "two", and what nobody heard.
		while (link.bytesLost < "TWOthree".length) await setImmediate();
		const reset = closed(socket);
		link.restore();
		await reset;
		expect(far.received.join("")).toBe("onetwo");
		expect(answers).toEqual([]);
	});

	it("takes connections and says nothing while it is cut; works anew when it is back", async () => {
		const { link, far, dial } = await open();
		link.cut();
		expect(link.isCut).toBe(true);
		const early = await dial();
		early.write("early");
		while (link.bytesLost < "early".length) await setImmediate();
		const reset = closed(early);
		link.restore();
		await reset;
		const late = await dial();
		late.write("late");
		expect(await said(late, 4)).toBe("LATE");
		expect(far.received).toEqual(["late"]);
	});

	it("ends one side with the other", async () => {
		const { far, dial } = await open();
		const [[accepted], socket] = (await Promise.all([once(far.server, "connection"), dial()])) as [[Socket], Socket];
		const ended = closed(accepted);
		socket.destroy();
		await ended;
	});
});
