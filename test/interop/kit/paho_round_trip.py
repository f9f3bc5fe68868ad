"""Publishes and receives through Eclipse Paho's Python client; prints what arrived as JSON lines.

usage: paho_round_trip.py PORT VERSION(3.1.1|5)
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WAIT_SECONDS = 30
COUNT = 20


def main() -> None:
    port, version = int(sys.argv[1]), sys.argv[2]
    five = version == "5"
    arrived: queue.Queue = queue.Queue()
    ready: queue.Queue = queue.Queue()
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=f"paho-{version}",
        protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311,
    )
    client.on_connect = lambda c, u, flags, reason, properties: ready.put(reason)
    client.on_subscribe = lambda c, u, mid, reasons, properties: ready.put(reasons[0])
    client.on_message = lambda c, u, message: arrived.put(message)
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert not ready.get(timeout=WAIT_SECONDS).is_failure
    client.subscribe(f"sensors/paho/{version}/+", qos=2)
    assert not ready.get(timeout=WAIT_SECONDS).is_failure
    waiting = []
    for i in range(COUNT):
        properties = None
        if five:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ContentType = "application/json"
            properties.UserProperty = [("n", str(i)), ("n", "again")]
        waiting.append(
            client.publish(f"sensors/paho/{version}/telemetry", json.dumps({"n": i}), qos=i % 3, properties=properties)
        )
    for info in waiting:
        info.wait_for_publish(WAIT_SECONDS)
        assert info.is_published()
    for _ in range(COUNT):
        message = arrived.get(timeout=WAIT_SECONDS)
        line = {"topic": message.topic, "qos": message.qos, **json.loads(message.payload)}
        if five:
            line["contentType"] = message.properties.ContentType
            line["userProperties"] = message.properties.UserProperty
        print(json.dumps(line))
    client.disconnect()
    client.loop_stop()


main()
