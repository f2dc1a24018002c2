"""Scripts by their threads and processes."""

from traits import Trait

FORK = """
    import os, sys
    def result(*what): open(sys.argv[1], "w").write(" ".join(map(str, what)))
    sys.stdout.flush()
    pid = os.fork()
"""
PARENT = """
    else:
        _, status = os.waitpid(pid, 0)
        print("the child ended with", os.waitstatus_to_exitcode(status))
        result("done")
"""


def at_any_line(printed: bytes) -> bytes:
    """An interrupt may come at any instruction: only what it was counts."""
    return b"".join(printed.splitlines()[-1:])


def pool(context: str, kind: str) -> Trait:
    """Work shared by a pool of processes, by each way to start them."""
    lines = {
        "Pool": """
            with multiprocessing.get_context("{context}").Pool(2) as pool:
                done = pool.map(square, [Reading(1), Reading(2), Reading(3)])
        """,
        "pool_left_open": """
            pool = multiprocessing.get_context("{context}").Pool(2)
            done = pool.map(square, [Reading(1), Reading(2), Reading(3)])
        """,
        "ProcessPoolExecutor": """
            from concurrent.futures import ProcessPoolExecutor
            with ProcessPoolExecutor(2, multiprocessing.get_context("{context}")) as pool:
                done = list(pool.map(square, [Reading(1), Reading(2), Reading(3)]))
        """,
        "executor_left_open": """
            from concurrent.futures import ProcessPoolExecutor
            pool = ProcessPoolExecutor(2, multiprocessing.get_context("{context}"))
            done = list(pool.map(square, [Reading(1), Reading(2), Reading(3)]))
        """,
        "Process": """
            there, back = multiprocessing.Pipe()
            one = multiprocessing.get_context("{context}").Process(target=tell, args=(back, Reading(3)))
            one.start()
            done = there.recv()
            one.join()
        """,
        "Queue": """
            context = multiprocessing.get_context("{context}")
            queue = context.Queue()
            one = context.Process(target=put, args=(queue, Reading(3)))
            one.start()
            done = queue.get()
            one.join()
        """,
        "not_joined": """
            # it is waited for as the interpreter ends
            multiprocessing.get_context("{context}").Process(target=leave, args=(sys.argv[1],)).start()
        """,
        "daemon": """
            # it is ended as the interpreter ends
            multiprocessing.get_context("{context}").Process(target=sleep, daemon=True).start()
            done = "parent"
        """,
    }[kind]
    head = """
        import multiprocessing, sys, time

        class Reading:
            def __init__(self, value): self.value = value

        def square(reading): return Reading(reading.value ** 2).value
        def tell(pipe, reading): pipe.send(square(reading))
        def put(queue, reading): queue.put(square(reading))
        def leave(name): open(name, "w").write("by a process")
        def sleep(): time.sleep(600)

        if __name__ == "__main__":
            done = None
    """
    tail = "" if kind == "not_joined" else "            open(sys.argv[1], 'w').write(repr(done))\n"
    source = head.rstrip() + lines.replace("{context}", context).rstrip() + "\n" + tail
    return Trait(f"multiprocessing_{context}_{kind}", source)


TRAITS = [
    # -- threads
    Trait(
        "thread_pool_left_open",
        """
        import sys
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(4)
        open(sys.argv[1], "w").write(str(pool.submit(sum, [1, 2]).result()))
        """,
        within=True,
    ),
    Trait(
        "thread_pool_left_with_work",
        """
        import sys, time
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(1)
        pool.submit(time.sleep, 0.05)
        pool.submit(lambda: open(sys.argv[1], "w").write("by the pool"))
        print("the main thread is done")
        """,
    ),
    Trait(
        "run_in_executor_left_open",
        """
        import asyncio, sys
        async def main():
            return await asyncio.get_running_loop().run_in_executor(None, sum, [1, 2])
        open(sys.argv[1], "w").write(str(asyncio.run(main())))
        """,
        within=True,
    ),
    Trait(
        "loop_and_executor_left_open",
        """
        import asyncio, sys
        loop = asyncio.new_event_loop()
        done = loop.run_until_complete(loop.run_in_executor(None, sum, [1, 2]))
        open(sys.argv[1], "w").write(str(done))
        """,
    ),
    Trait(
        "tasks_left_over",
        """
        import asyncio, sys
        async def slow():
            try:
                await asyncio.sleep(600)
            finally:
                print("cancelled")
        async def main():
            asyncio.create_task(slow())
            await asyncio.sleep(0)
        asyncio.run(main())
        open(sys.argv[1], "w").write("done")
        """,
        within=True,
    ),
    Trait(
        "daemon_thread",
        """
        import sys, threading, time
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        open(sys.argv[1], "w").write("done")
        """,
        within=True,
    ),
    Trait(
        "daemon_thread_that_prints",
        """
        import sys, threading, time
        begun = threading.Event()
        def busy():
            while True:
                begun.set()
                time.sleep(0.0001)
                open("/dev/null", "w").write("x")
        threading.Thread(target=busy, daemon=True).start()
        begun.wait()
        open(sys.argv[1], "w").write("done")
        """,
    ),
    Trait(
        "non_daemon_thread",
        """
        import sys, threading, time
        def work():
            time.sleep(0.05)
            open(sys.argv[1], "w").write("by a thread")
        threading.Thread(target=work).start()
        print("the main thread is done")
        """,
    ),
    Trait(
        "non_daemon_thread_after_exit_3",
        """
        import sys, threading, time
        def work():
            time.sleep(0.05)
            print("a thread goes on")
        threading.Thread(target=work).start()
        sys.exit(3)
        """,
    ),
    Trait(
        "thread_before_atexit",
        """
        import atexit, threading, time
        atexit.register(print, "at exit")
        def work():
            time.sleep(0.05)
            print("thread")
        threading.Thread(target=work).start()
        """,
    ),
    Trait(
        "thread_of_a_thread",
        """
        import sys, threading, time
        def inner():
            time.sleep(0.02)
            open(sys.argv[1], "w").write("inner")
        def outer():
            time.sleep(0.02)
            threading.Thread(target=inner).start()
        threading.Thread(target=outer).start()
        """,
        faulty=((3, 12), (3, 12, 2)),  # no thread begins once the file has ended (gh-113964)
    ),
    Trait(
        "thread_raises",
        """
        import sys, threading
        def work(): raise ValueError("in a thread")
        t = threading.Thread(target=work)
        t.start()
        t.join()
        open(sys.argv[1], "w").write("went on")
        """,
    ),
    Trait(
        "thread_exits",
        "import sys, threading\nt = threading.Thread(target=sys.exit, args=(3,))\nt.start()\nt.join()\nprint('on')\n",
    ),
    Trait(
        "thread__exits", "import os, threading\nt = threading.Thread(target=os._exit, args=(3,))\nt.start()\nt.join()\n"
    ),
    Trait(
        "thread_excepthook",
        """
        import threading
        threading.excepthook = lambda what: print("hook:", what.exc_value)
        def work(): raise ValueError("v")
        threading.Thread(target=work).start()
        """,
    ),
    Trait(
        "timer", "import sys, threading\nthreading.Timer(0.05, lambda: open(sys.argv[1], 'w').write('late')).start()\n"
    ),
    Trait(
        "thread_interrupts_main",
        "import _thread, threading, time\nthreading.Timer(0.01, _thread.interrupt_main).start()\nwhile True: time.sleep(0.001)\n",
        tidy=at_any_line,
    ),
    Trait(
        "thread_kills_with_SIGTERM",
        """
        import os, signal, sys, threading, time
        def part(*_):
            open(sys.argv[1], "w").write("a part")
            sys.exit(0)
        signal.signal(signal.SIGTERM, part)
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()
        time.sleep(600)
        """,
    ),
    Trait(
        "queue_worker",
        """
        import queue, sys, threading
        q, done = queue.Queue(), []
        def work():
            while (one := q.get()) is not None: done.append(one)
        t = threading.Thread(target=work)
        t.start()
        for i in (1, 2, None): q.put(i)
        t.join()
        open(sys.argv[1], "w").write(str(done))
        """,
        within=True,
    ),
    Trait(
        "http_server_in_a_thread",
        """
        import http.server, sys, threading, urllib.request
        class Hello(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"hello")
            def log_message(self, *what): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        open(sys.argv[1], "w").write(plain.open(address).read().decode())
        """,
        within=True,
    ),
    # -- forks
    Trait("fork_child_sys_exit", FORK + "    if pid == 0:\n        sys.exit(0)\n" + PARENT, within=True),
    Trait("fork_child_sys_exit_5", FORK + "    if pid == 0:\n        sys.exit(5)\n" + PARENT, within=True),
    Trait("fork_child__exit", FORK + "    if pid == 0:\n        os._exit(4)\n" + PARENT, within=True),
    Trait("fork_child_raises", FORK + "    if pid == 0:\n        raise ValueError('in the child')\n" + PARENT),
    Trait("fork_child_killed", FORK + "    if pid == 0:\n        os.kill(os.getpid(), 9)\n" + PARENT, within=True),
    Trait(
        "fork_child_execs",
        FORK + "    if pid == 0:\n        os.execvp('echo', ['echo', 'the child'])\n" + PARENT,
        within=True,
    ),
    Trait(
        "fork_child_falls_through",
        """
        import os
        if pid := os.fork():
            os.waitpid(pid, 0)
        print("parent" if pid else "child", flush=True)
        """,
    ),
    Trait(
        "fork_both_have_atexit",
        """
        import atexit, os
        atexit.register(lambda: print("at exit of the", "parent" if pid else "child", flush=True))
        if pid := os.fork():
            os.waitpid(pid, 0)
        """,
    ),
    Trait(
        "fork_result_by_the_child",
        """
        import os, sys
        if (pid := os.fork()) == 0:
            open(sys.argv[1], "w").write("by the child")
            sys.exit(0)
        os.waitpid(pid, 0)
        """,
    ),
    Trait(
        "setsid_daemon",
        """
        import os, sys
        r, w = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open("daemon.txt", "w").write("from a daemon")
                os.write(w, b"x")
            os._exit(0)
        os.wait()
        os.read(r, 1)
        open(sys.argv[1], "w").write(open("daemon.txt").read())
        """,
        within=True,
    ),
    Trait(
        "orphans_are_not_mine",
        """
        import os, sys
        if (pid := os.fork()) == 0:
            if os.fork() == 0: os._exit(7)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        try:
            while True: print("and", os.waitpid(-1, 0)[1])
        except ChildProcessError:
            open(sys.argv[1], "w").write("no more")
        """,
    ),
    Trait(
        "waitpid_any",
        """
        import os, sys
        pids = set()
        for status in (1, 2, 3):
            if (pid := os.fork()) == 0: os._exit(status)
            pids.add(pid)
        ended = []
        while pids:
            pid, status = os.waitpid(-1, 0)
            ended.append(os.waitstatus_to_exitcode(status))
            pids.remove(pid)  # a KeyError for a child that isn't mine
        open(sys.argv[1], "w").write(str(sorted(ended)))
        """,
        within=True,
    ),
    Trait(
        "sigchld_handler",
        """
        import os, signal, sys, time
        ended = []
        signal.signal(signal.SIGCHLD, lambda *_: ended.append(os.waitpid(-1, os.WNOHANG)[1] >> 8))
        if os.fork() == 0: os._exit(3)
        while not ended: time.sleep(0.01)  # pause() could begin just after the signal
        open(sys.argv[1], "w").write(str(ended))
        """,
    ),
    Trait(
        "sigchld_ignored",
        "import os, signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nif os.fork() == 0: os._exit(3)\nos.wait()\n",
    ),
    Trait("kill_0", "import os, signal\nprint('before', flush=True)\nos.kill(0, signal.SIGTERM)\n"),
    Trait("killpg_SIGKILL", "import os, signal\nprint('before', flush=True)\nos.killpg(0, signal.SIGKILL)\n"),
    Trait(
        "kill_0_ignored_by_itself",
        """
        import os, signal, subprocess, sys
        child = subprocess.Popen(["sleep", "600"])
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.kill(0, signal.SIGTERM)
        open(sys.argv[1], "w").write(str(child.wait()))
        """,
    ),
    Trait(
        "setpgrp",
        "import os, sys\ntry: os.setpgrp()\nexcept PermissionError: pass  # of a session's leader, which has one of its own\nopen(sys.argv[1], 'w').write(str(os.getpgrp() == os.getpid()))\n",
    ),
    Trait("group_is_its_own", "import os, sys\nopen(sys.argv[1], 'w').write(str(os.getpgrp() == os.getpid()))\n"),
    # -- exec
    Trait(
        "execv",
        "import os, sys\nprint('first', flush=True)\nos.execv('/bin/sh', ['sh', '-c', f'echo second; echo done > {sys.argv[1]}'])\n",
    ),
    Trait("execv_exit_6", "import os\nos.execv('/bin/sh', ['sh', '-c', 'exit 6'])\n"),
    Trait(
        "execv_of_itself",
        """
        import os, sys
        print(sys.argv[2:], flush=True)
        if not sys.argv[2:]:
            os.execv(sys.executable, [sys.executable, *sys.argv, "again"])
        open(sys.argv[1], "w").write("after it began anew")
        """,
    ),
    Trait(
        "execv_by_orig_argv",
        """
        import os, sys
        print(len(sys.orig_argv), flush=True)
        if len(sys.argv) == 2:
            os.execv(sys.executable, [*sys.orig_argv, "again"])
        open(sys.argv[1], "w").write("after it began anew")
        """,
    ),
    Trait("execvp_missing", "import os\nos.execvp('a-program-that-nobody-has', ['x'])\n"),
    # -- subprocess
    Trait(
        "subprocess_run",
        "import subprocess\nprint(subprocess.run(['sh', '-c', 'echo out; exit 3'], capture_output=True))\n",
        within=True,
    ),
    Trait(
        "subprocess_prints",
        "import subprocess\nsubprocess.run(['sh', '-c', 'echo out; echo err >&2'], check=True)\n",
        within=True,
    ),
    Trait("subprocess_check", "import subprocess\nsubprocess.run(['false'], check=True)\n"),
    Trait(
        "subprocess_stdin",
        "import subprocess\nprint(subprocess.run(['cat'], input=b'text', stdout=-1).stdout)\n",
        within=True,
    ),
    Trait(
        "subprocess_timeout",
        "import subprocess\ntry: subprocess.run(['sleep', '600'], timeout=0.05)\nexcept subprocess.TimeoutExpired as e: print(e.cmd)\n",
        within=True,
    ),
    Trait(
        "subprocess_python",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import sys; print(sys.argv)', 'x'], check=True)\n",
        within=True,
    ),
    Trait(
        "subprocess_new_session",
        "import subprocess\nprint(subprocess.run(['sh', '-c', 'kill 0'], start_new_session=True).returncode)\n",
        within=True,
    ),
    Trait(
        "subprocess_terminated",
        "import subprocess\np = subprocess.Popen(['sleep', '600'])\np.terminate()\nprint(p.wait())\n",
        within=True,
    ),
    Trait(
        "popen_left_running",
        "import subprocess\nkept = subprocess.Popen(['sh', '-c', 'echo done > child.txt'])\nprint('x')\nkept.wait()\n",
        within=True,
    ),
    Trait("system", "import os\nprint(os.waitstatus_to_exitcode(os.system('exit 3')))\n", within=True),
    Trait("popen_of_os", "import os\nprint(os.popen('echo through a pipe').read())\n", within=True),
    Trait(
        "posix_spawn",
        "import os\np = os.posix_spawn('/bin/true', ['true'], {})\nprint(os.waitpid(p, 0)[1])\n",
        within=True,
    ),
    Trait(
        "pipe_to_head",
        "import subprocess\nprint(subprocess.run('yes | head -1', shell=True).returncode)\n",
        within=True,
    ),
    Trait(
        "asyncio_subprocess",
        "import asyncio\nasync def main():\n    p = await asyncio.create_subprocess_exec('sh', '-c', 'exit 4')\n    print(await p.wait())\nasyncio.run(main())\n",
        within=True,
    ),
    *(
        pool(context, kind)
        for context in ("fork", "spawn", "forkserver")
        for kind in (
            "Pool",
            "pool_left_open",
            "ProcessPoolExecutor",
            "executor_left_open",
            "Process",
            "Queue",
            "not_joined",
            "daemon",
        )
    ),
    Trait(
        "multiprocessing_default",
        """
        import multiprocessing, sys
        def double(x): return 2 * x
        if __name__ == "__main__":
            with multiprocessing.Pool(2) as pool:
                done = pool.map(double, [1, 2])
            open(sys.argv[1], "w").write(f"{multiprocessing.get_start_method()} {done}")
        """,
    ),
    Trait(
        "multiprocessing_of_a_neighbour",
        """
        import multiprocessing, sys
        import work
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                open(sys.argv[1], "w").write(str(pool.map(work.double, [1, 2])))
        """,
        beside={"work.py": "def double(x): return 2 * x\n"},
    ),
    Trait(
        "multiprocessing_without_guard",
        """
        import multiprocessing
        def work(): print("in a child", flush=True)
        one = multiprocessing.get_context("spawn").Process(target=work)
        one.start()
        one.join()
        """,
    ),
    Trait(
        "multiprocessing_process_exits_3",
        "import multiprocessing as m, sys\np = m.get_context('fork').Process(target=sys.exit, args=(3,))\np.start()\np.join()\nprint(p.exitcode)\n",
        within=True,
    ),
    Trait(
        "multiprocessing_names",
        "import multiprocessing as m\nprint(m.current_process().name, m.parent_process(), m.active_children())\n",
    ),
    Trait(
        "multiprocessing_manager",
        """
        import multiprocessing, sys
        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Manager() as manager:
                shared = manager.dict(a=1)
                shared["b"] = 2
                open(sys.argv[1], "w").write(str(dict(shared)))
        """,
    ),
    Trait(
        "shared_memory",
        """
        import sys
        from multiprocessing import shared_memory
        block = shared_memory.SharedMemory(create=True, size=16)
        block.buf[:3] = b"abc"
        open(sys.argv[1], "w").write(bytes(block.buf[:3]).decode())
        block.close()
        block.unlink()
        """,
        within=True,
    ),
    Trait(
        "joblib_n_jobs_2",
        """
        import sys
        from joblib import Parallel, delayed
        def square(x): return x * x
        open(sys.argv[1], "w").write(str(Parallel(n_jobs=2)(delayed(square)(i) for i in range(5))))
        """,
        needs="joblib",
        within=True,
    ),
    Trait(
        "joblib_threads",
        """
        import sys
        from joblib import Parallel, delayed
        done = Parallel(n_jobs=2, prefer="threads")(delayed(abs)(-i) for i in range(5))
        open(sys.argv[1], "w").write(str(done))
        """,
        needs="joblib",
        within=True,
    ),
    Trait(
        "joblib_multiprocessing",
        """
        import sys
        from joblib import Parallel, delayed
        def square(x): return x * x
        if __name__ == "__main__":
            done = Parallel(n_jobs=2, backend="multiprocessing")(delayed(square)(i) for i in range(5))
            open(sys.argv[1], "w").write(str(done))
        """,
        needs="joblib",
    ),
    Trait(
        "loky",
        """
        import sys
        import loky
        class Reading:
            def __init__(self, value): self.value = value
        pool = loky.get_reusable_executor(max_workers=2)
        done = [r.value for r in pool.map(lambda r: Reading(2 * r.value), [Reading(1), Reading(2)])]
        open(sys.argv[1], "w").write(str(done))
        """,
        needs="loky",
        within=True,
    ),
]
