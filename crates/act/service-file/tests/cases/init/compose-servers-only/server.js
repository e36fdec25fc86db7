listen(env.PORT)
