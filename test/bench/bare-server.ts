/**
 * What a connection costs before MQTT: a TCP server with the door's listener options, listeners and V8 flags, that does
 * nothing. It prints the port that it listens on.
 */
import net from "node:net";
import { OUTPUT_HIGH_BYTES } from "../../bridge/mqtt/transport.ts";
import { spareMemory } from "../../src/cli/spare-memory.ts";

const sockets = new Set<net.Socket>();

function onData(): void {}
function onDrain(): void {}
function onError(this: net.Socket): void {
	this.destroy();
}
function onClose(this: net.Socket): void {
	sockets.delete(this);
}

const server = net.createServer({ noDelay: true, highWaterMark: OUTPUT_HIGH_BYTES }, (socket) => {
	sockets.add(socket);
	socket.on("data", onData);
	socket.on("drain", onDrain);
	socket.on("error", onError);
	socket.on("close", onClose);
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => {
	spareMemory();
	process.stdout.write(`port ${(server.address() as net.AddressInfo).port}\n`);
});
