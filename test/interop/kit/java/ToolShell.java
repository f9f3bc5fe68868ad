import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command-line programs one after the other in one JVM, as a shell would run each in its own: a
 * dozen of them then cost little more than one. Arguments: NAME=CLASS of every program. A request is a line of
 * JSON, {"tool": NAME, "args": [...], "stdin": TEXT}; so is its answer, {"code", "stdout", "stderr"}.
 */
public final class ToolShell {
    /** Thrown where the program wanted to end the process; some catch it and go on, which then no longer counts. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1;

        Ended(int code) {
            super("exit " + code, null, false, false);
        }
    }

    /** A stream whose bytes go to the program that runs now: loggers and Scala's Console keep the first one that they see. */
    private static final class Redirected extends OutputStream {
        private final ByteArrayOutputStream said = new ByteArrayOutputStream();
        private boolean open;

        @Override
        public void write(int b) {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public synchronized void write(byte[] bytes, int from, int length) {
            if (open) {
                said.write(bytes, from, length);
            }
        }

        synchronized void begin() {
            said.reset();
            open = true;
        }

        synchronized String end() {
            open = false;
            return said.toString(StandardCharsets.UTF_8);
        }
    }

    private static final Redirected OUT = new Redirected();
    private static final Redirected ERR = new Redirected();
    /** What the program wants done when it ends: console-producer sends its last records then. */
    private static final List<Runnable> HOOKS = new ArrayList<>();
    private static volatile Integer exitCode;

    private static void end(int code, String message) {
        if (exitCode == null) {
            exitCode = code;
            OUT.end();
            ERR.end();
        }
        throw new Ended(code);
    }

    public static void main(String[] programs) throws Exception {
        Map<String, String> classes = new HashMap<>();
        for (String program : programs) {
            classes.put(program.substring(0, program.indexOf('=')), program.substring(program.indexOf('=') + 1));
        }
        PrintStream answers = System.out;
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure(ToolShell::end);
        Exit.setHaltProcedure(ToolShell::end);
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        ObjectMapper json = new ObjectMapper();
        for (String line; (line = requests.readLine()) != null; ) {
            JsonNode request = json.readTree(line);
            String tool = request.get("tool").asText();
            String[] arguments = json.convertValue(request.get("args"), String[].class);
            System.setIn(new ByteArrayInputStream(request.path("stdin").asText("").getBytes(StandardCharsets.UTF_8)));
            int code = run(Class.forName(classes.getOrDefault(tool, tool)), arguments);
            ObjectNode answer = json.createObjectNode();
            answer.put("code", code);
            answer.put("stdout", OUT.end());
            answer.put("stderr", ERR.end());
            answers.println(json.writeValueAsString(answer));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static int run(Class<?> program, String[] arguments) throws ReflectiveOperationException {
        exitCode = null;
        HOOKS.clear();
        OUT.begin();
        ERR.begin();
        try {
            program.getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException ended) {
            if (exitCode == null) {
                ended.getCause().printStackTrace();
                exitCode = 1;
            }
        }
        HOOKS.forEach(Runnable::run);
        return exitCode == null ? 0 : exitCode;
    }
}
