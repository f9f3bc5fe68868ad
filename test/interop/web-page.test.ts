/** The web page of docs/websocket.md, as it stands there, in a real browser: what is published shows up on it. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import { createServer, type Server } from "node:http";
import path from "node:path";
import { connectAsync } from "mqtt";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { type Gateway, startGateway, temporaryFolder, until } from "../support/gateway.ts";

const root = path.resolve(import.meta.dirname, "../..");
const browser = ["chromium", "chromium-browser", "google-chrome"].find(
	(name) => spawnSync("sh", ["-c", `command -v ${name}`]).status === 0,
);
if (browser === undefined) {
	const line = "interop: no chromium (Debian: apt-get install chromium): the web page is left out";
	if (process.env.CI === "true") throw new Error(line);
	console.log(line);
}

/** Chromium's debugging port, as far as it takes to open pages and read their text. */
class Browser {
	readonly #process: ChildProcess;
	readonly #port: string;

	private constructor(child: ChildProcess, port: string) {
		this.#process = child;
		this.#port = port;
	}

	static async start(program: string, profile: string): Promise<Browser> {
		const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"];
		const child = spawn(program, [...flags, `--user-data-dir=${profile}`, "about:blank"], {
			stdio: ["ignore", "pipe", "pipe"],
		});
		const [, port = ""] = await until(child, /DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)/);
		return new Browser(child, port);
	}

	/** Opens a page; the function returned reads its text. */
	async open(url: string): Promise<() => Promise<string>> {
		const made = await fetch(`http://127.0.0.1:${this.#port}/json/new?${encodeURIComponent(url)}`, { method: "PUT" });
		const { webSocketDebuggerUrl } = (await made.json()) as { webSocketDebuggerUrl: string };
		const socket = new WebSocket(webSocketDebuggerUrl);
		await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
		return () =>
			new Promise((resolve) => {
				socket.once("message", (answer) => resolve(JSON.parse(String(answer)).result.result.value));
				const params = { expression: "document.body?.innerText ?? ''" };
				socket.send(JSON.stringify({ id: 1, method: "Runtime.evaluate", params }));
			});
	}

	async stop(): Promise<void> {
		const gone = new Promise((resolve) => this.#process.once("close", resolve));
		this.#process.kill("SIGKILL");
		await gone;
	}
}

/** What a web server of the folder in the document would serve. */
function pageServer(): Promise<{ server: Server; port: number }> {
	const document = fs.readFileSync(path.join(root, "docs", "websocket.md"), "utf8");
	const page = /```html\n([\s\S]*?)```/.exec(document)?.[1] ?? "";
	const script = fs.readFileSync(path.join(root, "node_modules", "mqtt", "dist", "mqtt.min.js"));
	const server = createServer((request, response) => {
		const isScript = request.url === "/node_modules/mqtt/dist/mqtt.min.js";
		response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" });
		response.end(isScript ? script : page);
	});
	return new Promise((resolve) => {
		server.listen(0, "127.0.0.1", () => {
			const address = server.address();
			resolve({ server, port: typeof address === "object" && address !== null ? address.port : 0 });
		});
	});
}

describe.skipIf(browser === undefined)("the page of docs/websocket.md", () => {
	const folder = temporaryFolder("web-page");
	let chromium: Browser;
	let gateway: Gateway;
	let pages: { server: Server; port: number };
	beforeAll(async () => {
		pages = await pageServer();
		gateway = await startGateway({
			dataDirectory: path.join(folder, "data"),
			settings: { "http.allowed.origins": `http://localhost:${pages.port}` },
		});
		chromium = await Browser.start(browser ?? "", path.join(folder, "profile"));
	});
	afterAll(async () => {
		await chromium.stop();
		await gateway.kill();
		pages.server.closeAllConnections();
		pages.server.close();
		fs.rmSync(folder, { recursive: true, maxRetries: 10, retryDelay: 100 });
	});

	it("shows what is published, if its origin is listed", async () => {
		const text = await chromium.open(`http://localhost:${pages.port}/?gateway=localhost:${gateway.httpPort}`);
		await vi.waitFor(async () => expect(await text()).toContain(`connected to localhost:${gateway.httpPort}`), 30_000);
		const publisher = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`);
		await vi.waitFor(async () => {
			await publisher.publishAsync("sensors/site1/dev7/telemetry", '{"t":21.5}', { qos: 1 });
			expect(await text()).toContain('sensors/site1/dev7/telemetry {"t":21.5}');
		}, 30_000);
		await publisher.endAsync();
	});

	it("stays outside from another origin", async () => {
		const text = await chromium.open(`http://127.0.0.1:${pages.port}/?gateway=localhost:${gateway.httpPort}`);
		await vi.waitFor(async () => expect(await text()).toContain("disconnected, trying again"), 30_000);
	});
});
