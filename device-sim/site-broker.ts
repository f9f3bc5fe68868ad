/**
 * The MQTT broker that a site has already, for runs with a bridge: aedes (MQTT 3.1.1), alone in its process. It keeps its
 * sessions in memory, so this process is never killed; the gateway's connection to it is, at random. What happens is told
 * to the parent on standard output, a line each.
 */
import { createServer, type Socket } from "node:net";
import { Aedes } from "aedes";
import { SimulatedRandom } from "../src/base/random-simulated.ts";

/** The bridge's client id there. */
export const BRIDGE_CLIENT = "headwater-site";
const HOST = "127.0.0.1";

/** Runs until standard input ends: with the parent, however that ends. */
export async function runSiteBroker(seed: string, cutEveryMs: number): Promise<void> {
	const aedes = await Aedes.createBroker();
	const tell = (line: string): void => void process.stdout.write(`${line}\n`);
	const server = createServer((socket) => aedes.handle(socket));
	const bridge: { socket: Socket | undefined } = { socket: undefined };
	aedes.on("clientReady", (client) => {
		if (client.id !== BRIDGE_CLIENT) return;
		bridge.socket = client.conn as Socket;
		tell("bridge");
	});
	aedes.on("subscribe", (_subscriptions, client) => {
		if (client.id === BRIDGE_CLIENT) tell("subscribed");
	});
	const random = new SimulatedRandom(`${seed}/bridge link`);
	const cutLater = (): void => {
		// By chance, once in that time on the average.
		setTimeout(
			() => {
				if (bridge.socket?.destroyed === false) {
					bridge.socket.destroy();
					tell("cut");
				}
				cutLater();
			},
			-cutEveryMs * Math.log(1 - random.fraction()),
		);
	};
	if (cutEveryMs > 0) cutLater();
	process.stdin.on("end", () => process.exit(0)).resume();
	server.listen(0, HOST, () => {
		const address = server.address();
		if (address !== null && typeof address !== "string") tell(`listening ${address.port}`);
	});
}
