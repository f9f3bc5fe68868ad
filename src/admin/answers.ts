/** Answers of the HTTP door in plain text: to a request, and to a request for an upgrade, which has no response object. */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Of every answer: it is text for now, whatever a browser makes of it. */
const HEADERS = {
	"content-type": "text/plain; charset=utf-8",
	"x-content-type-options": "nosniff",
	"cache-control": "no-store",
};

const PHRASES: Readonly<Record<number, string>> = {
	400: "Bad Request",
	403: "Forbidden",
	404: "Not Found",
	503: "Service Unavailable",
};

export function send(
	response: ServerResponse,
	status: number,
	text: string,
	headers: Readonly<Record<string, string>> = {},
): void {
	response.writeHead(status, { ...HEADERS, "content-length": String(Buffer.byteLength(text)), ...headers });
	response.end(text);
}

/** Answers and closes; a peer that does not take the answer is not waited for. */
export function refuseUpgrade(socket: Socket, status: number, text: string): void {
	const head = Object.entries({ ...HEADERS, "content-length": String(Buffer.byteLength(text)), connection: "close" });
	const lines = head.map(([name, value]) => `${name}: ${value}\r\n`).join("");
	socket.on("error", () => socket.destroy());
	socket.once("finish", () => socket.destroy());
	socket.end(`HTTP/1.1 ${status} ${PHRASES[status] ?? "Refused"}\r\n${lines}\r\n${text}`);
}
